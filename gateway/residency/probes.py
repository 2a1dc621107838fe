"""A release's fingerprint, read into values, and which of its probes a proof asks for.

A probe costs a prefill of its tokens, whatever the number of its positions. So the shortest of each
kind is asked, and then what has most positions for its tokens, until there are `WANTED` of them:
prose beside a row of the task's own, because an adapter that is applied in part may still answer
its own template.

Invariant: probes are cut after their last position; an adapter that the chosen ones hardly tell
from its base is judged by all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from adapterworks.gateway.engines.engine import Probe
from adapterworks.gateway.residency.verdict import SMALLEST_SEPARATION, Position, divergence

# As many as were compared when each cost a prompt of its own, in far fewer tokens.
WANTED = 24
LEAST = 4  # probes, however many positions they have: texts that have nothing in common
# Other types, numbers without bounds, lists in lists in lists.
_OTHERWISE = (LookupError, TypeError, AttributeError, OverflowError, RecursionError)
# Times the smallest separation: below it, the choice may be why adapter and base look alike.
_CLEAR = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """One probe, and what adapter and base gave when the fingerprint was taken."""

    kind: str
    probe: Probe
    adapter: tuple[Position, ...]
    base: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The document, as far as a proof reads it."""

    base_digest: str
    template_digest: str | None
    probes: tuple[Expected, ...]


def read_fingerprint(content: bytes) -> Fingerprint:
    """Read `fingerprint.json`.

    Raises:
        ValueError: it is not in its format.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        probes = tuple(_probe(value) for value in document["probes"])
        if document["schema_version"] != 1 or not probes:
            raise ValueError("not version 1, or without probes")
        return Fingerprint(str(document["base_digest"]), document.get("template_digest"), probes)
    except _OTHERWISE as error:
        raise ValueError("fields are missing, or are of another type") from error


def _probe(value: dict[str, Any]) -> Expected:
    positions = tuple(int(position) for position in value["positions"])
    ids = tuple(int(token) for token in value["token_ids"])
    adapter, base = (_positions(value[name]) for name in ("adapter", "base"))
    whole = (
        len(positions) == len(adapter) == len(base)
        and min(positions) > 0
        and max(positions) < len(ids)
        and all((*adapter, *base))
    )
    if not whole:
        raise ValueError("a probe's positions, tokens and log-probabilities do not fit")
    # Others' may stand in any order, and twice; the first counts.
    first = {position: index for index, position in reversed([*enumerate(positions)])}
    order = [first[position] for position in sorted(first)]
    probe = Probe(ids[: max(positions) + 1], tuple(positions[i] for i in order))
    adapter, base = tuple(adapter[i] for i in order), tuple(base[i] for i in order)
    return Expected(str(value.get("kind", "")), probe, adapter, base)


def _positions(values: Sequence[Any]) -> tuple[Position, ...]:
    found = tuple([(int(token), float(logprob)) for token, logprob in at] for at in values)
    if not all(isfinite(logprob) for at in found for _, logprob in at):
        raise ValueError("a log-probability is no number")
    return found


def chosen(probes: Sequence[Expected]) -> Sequence[Expected]:
    """The probes to ask, in the fingerprint's order."""
    shortest: dict[str, Expected] = {}
    for one in sorted(probes, key=lambda one: len(one.probe.token_ids)):
        shortest.setdefault(one.kind, one)
    picked = {id(one) for one in shortest.values()}
    found = sum(len(one.probe.positions) for one in shortest.values())
    for one in sorted(probes, key=_tokens_a_position):
        if id(one) not in picked and (len(picked) < LEAST or found < WANTED):
            picked.add(id(one))
            found += len(one.probe.positions)
    some = [one for one in probes if id(one) in picked]
    return some if separation(some) >= _CLEAR * SMALLEST_SEPARATION else probes


def _tokens_a_position(one: Expected) -> float:
    return len(one.probe.token_ids) / len(one.probe.positions)


def clearest(probes: Sequence[Expected]) -> Sequence[Expected]:
    """The one probe that tells adapter and base apart best, of those that a proof asks for."""
    return [max(chosen(probes), key=lambda one: separation([one]))]


def separation(probes: Sequence[Expected]) -> float:
    """How far adapter and base are from one another in the fingerprint, nats."""
    adapter = [at for one in probes for at in one.adapter]
    base = [dict(at) for one in probes for at in one.base]
    return divergence(adapter, base)
