"""Whether a version may have a protected alias: gates, a proof, signatures, people's preference.

Invariant: what counts is known here. A record from elsewhere may say that its gates passed; only a
build of this registry has judged them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.manifests.refs import Ref
from adapterworks.registry.index import log, lookup
from adapterworks.registry.lifecycle import aliases, signing
from adapterworks.registry.lifecycle.protection import Rule
from adapterworks.registry.releases.types import Resolved

REPORT = "report.json"
_WHY = 300  # characters of a reason that is shown
PROVED = "proved"
_CONFIDENCE = 0.95  # of a review's interval, at least
_REVIEWS = 100  # of a version, newest first, that are looked through


def require(
    connection: Connection,
    resolved: Resolved,
    rule: Rule,
    alias: str,
    *,
    record: bytes,
    read: Callable[[str], bytes | None],
    approved: bool = False,
) -> None:
    """Check all that a rule asks for.

    Args:
        record: of the release.
        read: a file of the release by path; None if its bytes are rightly not here.
        approved: whether this very move was asked for and approved (`approval.py`).

    Raises:
        Refused: naming everything that lacks.
    """
    lacking = [
        *(() if approved or not rule.approvals else (_unapproved(rule, alias, resolved),)),
        *(_gates(connection, resolved, read) if rule.gates else ()),
        *(_proof(connection, resolved) if rule.proof else ()),
        *(_signatures(connection, resolved, rule, record) if rule.signatures else ()),
        *_preferred(connection, resolved, rule, alias),
    ]
    if lacking:
        raise Refused(
            f"`{resolved.name}:{alias}` is protected and `{resolved}` lacks what it asks for: "
            + "; ".join(lacking),
            hint="see what it asks for: adapters registry settings",
        )


def _unapproved(rule: Rule, alias: str, resolved: Resolved) -> str:
    return (
        f"{rule.approvals} others must approve the move "
        f"(adapters promote {resolved} {alias} --request --why …)"
    )


def _gates(
    connection: Connection, resolved: Resolved, read: Callable[[str], bytes | None]
) -> Iterator[str]:
    row = lookup.get_version(connection, resolved.name, resolved.version)
    if row.plan is None:
        yield "it was not built here, so its gates were not judged here"
        return
    gates = _judged(read(REPORT))
    if gates is None:
        yield f"whether its gates passed is not known: its `{REPORT}` does not say"
    elif not gates:
        yield "it has no gates (`[[evaluate.gates]]` in its manifest)"
    else:
        yield from (f"a gate failed: {why}" for passed, why in gates if not passed)


def _judged(report: bytes | None) -> list[tuple[bool, str]] | None:
    """Whether each gate passed, and why; None if a report does not say, or is none.

    A release that was built elsewhere has what its publisher wrote there.
    """
    try:
        table = json.loads(report or b"null")
    except (ValueError, RecursionError):
        return None
    gates = table.get("gates") if isinstance(table, dict) else None
    if not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        return None
    return [(gate.get("passed") is True, str(gate.get("why", ""))[:_WHY]) for gate in gates]


def _proof(connection: Connection, resolved: Resolved) -> Iterator[str]:
    newest = log.events(
        connection, resolved.name, version=resolved.version, kinds=("proof",), limit=1
    )
    if not newest:
        yield "no engine has reproduced its fingerprint (serve it under another alias and ask it)"
    elif newest[0].data.get("result") != PROVED:
        yield f"the newest proof on an engine is `{newest[0].data.get('result')}`"


def _preferred(connection: Connection, resolved: Resolved, rule: Rule, alias: str) -> Iterator[str]:
    """What people said of it beside the alias's holder; nothing where there is no other holder."""
    if rule.preferred is None:
        return
    holder = _holder(connection, resolved.name, alias)
    if holder is None or holder.digest == resolved.digest:
        return
    events = log.events(
        connection, resolved.name, version=resolved.version, kinds=("review",), limit=_REVIEWS
    )
    newest = next((one.data for one in events if one.data.get("against") == holder.digest), None)
    if newest is None:
        yield (
            f"nobody has reviewed it beside `{holder}` (adapters review start {resolved} {holder})"
        )
        return
    reviewers, low = newest.get("reviewers"), newest.get("low")
    if not isinstance(reviewers, int) or reviewers < rule.reviewers:
        yield f"{reviewers} reviewed it beside `{holder}`, {rule.reviewers} must"
    sure = newest.get("confidence")
    if not isinstance(sure, float | int) or sure < _CONFIDENCE:
        yield f"its review was closed at {_percent(sure)} confidence, {_percent(_CONFIDENCE)} must"
    if unfinished := newest.get("unfinished"):
        yield f"its review was closed before {unfinished} of its reviewers had judged every row"
    if not isinstance(low, float | int) or not low >= rule.preferred:
        yield (
            f"people prefer it to `{holder}` at least {_percent(low)} of the time, "
            f"{_percent(rule.preferred)} is asked for"
        )


def _holder(connection: Connection, name: str, alias: str) -> Resolved | None:
    """Who holds an alias, or held it last where it was taken away: that is anybody's, and so must
    not free the next from the comparison. Deleted ones are passed over: nobody can compare with
    them, and deleting is an administrator's, who makes the rules too."""
    try:
        return lookup.resolve(connection, Ref(name, alias=alias))
    except NotFound:
        moves = aliases.history(connection, name, alias)
    for version in reversed(aliases.standing(moves)):
        row = lookup.get_version(connection, name, version)
        if row.deleted is None:
            return Resolved(name, version, row.digest, lookup.exact(name, version))
    return None


def _percent(share: object) -> str:
    return f"{share:.1%}" if isinstance(share, float | int) else "an unknown part"


def _signatures(
    connection: Connection, resolved: Resolved, rule: Rule, record: bytes
) -> Iterator[str]:
    bundles = signing.known(connection, resolved.digest)
    signers = set()
    with tempfile.TemporaryDirectory(prefix="adapters-keys-") as folder:
        for number, pem in enumerate(rule.keys):
            key = Path(folder, f"{number}.pub")
            key.write_text(pem)
            identity = signing.key_id(key)
            if any(signing.fits(record, bundle, key) for bundle in bundles.get(identity, ())):
                signers.add(identity)
    if len(signers) < rule.signatures:
        yield f"{len(signers)} of its {len(rule.keys)} keys signed it, {rule.signatures} must"
