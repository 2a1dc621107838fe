"""`Judgements` on a registry's server: the same, with an administrator's token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from adapterworks.gateway.capture.asked import AskedFeedback
from adapterworks.registry.exchanges.exchange import Exchange, Feedback
from adapterworks.registry.remotes.http.link import Link

_PAGE = 1000
_Told = dict[str, Any]
_EXCHANGE: TypeAdapter[Exchange] = TypeAdapter(Exchange)


class JudgementsOverHttp:
    """The feedback of everybody, as the server tells an administrator."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def listed(
        self,
        *,
        tenant: str | None = None,
        adapter: str | None = None,
        release: str | None = None,
        limit: int | None = None,
        before: int | None = None,
    ) -> Iterator[tuple[int, Feedback]]:
        """As `Judgements.listed`."""
        asked = {"tenant": tenant, "adapter": adapter, "release": release}
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            told = self._link.get("/feedback", _Told, limit=size, after=before, **asked)
            for value in told["data"]:
                before = int(value["number"])
                yield before, TypeAdapter(Feedback).validate_python(value["feedback"])
            left = None if left is None else left - size
            if not told["has_more"]:
                return

    def add(self, tenant: str, asked: AskedFeedback) -> tuple[Feedback, bool]:
        """As `Judgements.add`."""
        asked.new()  # what says nothing is not sent
        said = {key: value for key, value in asked.model_dump(mode="json").items() if value}
        if asked.score is not None:
            said["score"] = asked.score
        told = self._link.post("/feedback", _Told, tenant=tenant, **said)
        return TypeAdapter(Feedback).validate_python(told["feedback"]), bool(told["created"])

    def exchanges(
        self, *, tenant: str | None = None, adapter: str | None = None
    ) -> Iterator[Exchange]:
        """As `Judgements.exchanges`."""
        asked = {"tenant": tenant, "adapter": adapter}
        for line in self._link.lines("/feedback/exchanges", **asked):
            yield _EXCHANGE.validate_json(line)
