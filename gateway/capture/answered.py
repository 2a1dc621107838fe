"""Which answer a piece of feedback is about: kept, metered, or given a moment ago.

Invariant: an answer is found by its own tenant alone; what is another's is not found.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

import sqlalchemy as sa

from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.patterns import BASE_PREFIX
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.exchanges.exchange import Subject
from adapterworks.registry.exchanges.store import Exchanges

MOST_RECENT = 10_000
# An engine names its answers by the request id that it was given: `chatcmpl-req-…`, and may number
# them. So may we: one of several `instances` is `req-…-3`, a batch's line has its job and its
# number for an id, and is `batch_req_batch-…-7` in the output.
_NAMED = re.compile(
    r"(?:batch_req_|[a-z]{2,12}[-_])?"
    r"(?P<id>req-[0-9a-f]{24}|batch-[0-9a-f]{24}-\d{1,9})(?P<one>-\d{1,6})?(?P<of>-\d{1,6})?"
)


class Recent:
    """The last answers of this process, until their usage is in the index; from any thread."""

    def __init__(self, most: int = MOST_RECENT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[str, Subject]] = OrderedDict()

    def note(self, tenant: str, receipt: str, adapter: str, release: str) -> None:
        """Remember an answer as it is given; of the oldest nothing is known any more."""
        with self._lock:
            self._answers[receipt] = tenant, Subject(receipt, adapter, release, kept=False)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)

    def find(self, tenant: str, receipt: str) -> Subject | None:
        """A tenant's own answer."""
        with self._lock:
            owner, subject = self._answers.get(receipt, ("", None))
        return subject if owner == tenant else None


def answered(store: Exchanges, tenant: str, name: str, recent: Recent | None = None) -> Subject:
    """The answer of a receipt (`req-…`, `batch-…-7`) or of a completion's id.

    Raises:
        NotFound: the tenant was given no such answer.
    """
    if (kept := store.subject(tenant, name)) is not None:
        return kept
    receipts = _receipts(name)
    for receipt in receipts:
        if recent is not None and (subject := recent.find(tenant, receipt)) is not None:
            return subject
    query = sa.select(usage_events).where(
        usage_events.c.request_id.in_(receipts), usage_events.c.tenant == tenant
    )
    with store.database.read() as connection:
        rows = {row.request_id: row for row in connection.execute(query)}
    for receipt in receipts:
        if (row := rows.get(receipt)) is not None:
            return Subject(receipt, _adapter_of(row.ref), row.release, kept=False)
    raise NotFound(
        f"no answer `{name[:100]}` is known",
        hint="give the `x-request-id` of an answer, or the id of its completion",
    )


def _receipts(name: str) -> list[str]:
    """The receipts that a name may be of, the one that it says most of first."""
    match = _NAMED.fullmatch(name)
    if match is None:
        return []
    id, one, of = match["id"], match["one"] or "", match["of"] or ""
    return list(dict.fromkeys((id + one + of, id + one, id)))


def _adapter_of(ref: str) -> str:
    """What is metered as `medical@7` is of `medical`, and what is metered under a base's name is of
    `base:NAME`, as it is where it is kept or was given a moment ago."""
    name, _, version = ref.rpartition("@")
    return name if name and version.isdigit() else BASE_PREFIX + ref
