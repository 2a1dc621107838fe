"""Proof that a loaded adapter does what it did when it was built, before anyone is answered by it.

The release's fingerprint holds, for probe prompts, the top log-probabilities that the adapter and
its base gave at build time. The engine is asked for the same prompts under the loaded adapter. The
divergence at one position is the expected absolute difference of log-probabilities, in nats, under
the fingerprint's distribution over its top tokens; divergences are means over all positions.

Invariant: an adapter passes only if it is far closer to its own fingerprint than its base is
(`RATIO`), and within what the engine's precision explains; a fault never passes for a reason of its
own (fail closed).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Literal

from gateway.engines.engine import Engine
from gateway.forms.form import Form
from manifests.errors import IntegrityError, Refused
from registry.release import Release

FINGERPRINT = "fingerprint.json"
# Share of the adapter-to-base distance that the engine may be off by.
RATIO = 0.1
# What rounding alone explains, in nats: float32 against float32, and 16-bit engines.
EXACT_LIMIT = 0.02
ROUNDED_LIMIT = 0.15
# An adapter this close to its base cannot be told from it.
SMALLEST_SEPARATION = 0.002
# Positions compared in each probe: each is a prompt of its own to the engine, and more probes say
# more than more positions.
POSITIONS = 3
_PROBE_SALT = "fingerprint"

Position = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of one proof.

    Attributes:
        divergence: engine to fingerprint, nats; None if there was nothing to compare with.
        separation: adapter to base in the fingerprint, nats.
        tokens: engine tokens it cost.
    """

    state: Literal["proved", "unproved"]
    note: str = ""
    divergence: float | None = None
    separation: float | None = None
    milliseconds: float = 0.0
    tokens: int = 0


class ProofFailed(Refused):
    """The engine does not reproduce the fingerprint; `measured` is what it did instead."""

    def __init__(self, message: str, *, hint: str, measured: Proof | None = None) -> None:
        super().__init__(message, hint=hint)
        self.measured = measured


def divergence(expected: Sequence[Position], got: Sequence[Mapping[int, float]]) -> float:
    """Mean over positions of Σ pᵢ·|log pᵢ − log qᵢ| over the expected top tokens, in nats."""
    total = 0.0
    for position, scores in zip(expected, got, strict=True):
        # A token missing from the engine's list is at most as likely as the last one in it.
        floor = min(scores.values())
        mass = sum(exp(logprob) for _, logprob in position)
        total += sum(
            exp(logprob) / mass * abs(logprob - scores.get(token, floor))
            for token, logprob in position
        )
    return total / len(expected)


async def prove(engine: Engine, form: Form, release: Release, fingerprint: bytes | None) -> Proof:
    """Compare the loaded adapter with its fingerprint.

    Args:
        fingerprint: the verified bytes of `fingerprint.json`; None for a release without one.

    Raises:
        ProofFailed: it does not match; the message says in which way.
        IntegrityError: the fingerprint is not in its format.
    """
    if fingerprint is None:
        return Proof("unproved", "it has no fingerprint: built elsewhere and imported")
    probes = _read(release, fingerprint)
    _check_identity(engine, release, probes)
    prompts = _prompts(probes)
    expected: list[Position] = [at for probe in probes["probes"] for at in probe["adapter"]]
    base: list[Position] = [at for probe in probes["probes"] for at in probe["base"]]
    began = time.perf_counter()
    got, tokens = await form.score(engine, release.digest, _servable(release), prompts, _PROBE_SALT)
    measured = Proof(
        "proved",
        divergence=divergence(expected, got),
        separation=divergence(expected, [dict(position) for position in base]),
        milliseconds=(time.perf_counter() - began) * 1000,
        tokens=tokens,
    )
    if not _passes(engine, measured):
        raise await _explain(engine, release, prompts, base, measured, got)
    return measured


def _passes(engine: Engine, proof: Proof) -> bool:
    assert proof.divergence is not None
    assert proof.separation is not None
    rounding = EXACT_LIMIT if engine.base.exact else ROUNDED_LIMIT
    return (
        proof.separation >= SMALLEST_SEPARATION
        and proof.divergence <= RATIO * proof.separation
        and proof.divergence <= rounding
    )


async def _explain(
    engine: Engine,
    release: Release,
    prompts: list[list[int]],
    expected_base: list[Position],
    measured: Proof,
    got: Sequence[Mapping[int, float]],
) -> ProofFailed:
    """Find out which fault it is, at the price of asking the base the same prompts."""
    fields = {"model": engine.base.model, "cache_salt": _PROBE_SALT}
    engine_base, _ = await engine.score(fields, prompts)
    off_base = divergence(expected_base, engine_base)
    from_base = divergence([sorted(position.items()) for position in got], engine_base)
    rounding = EXACT_LIMIT if engine.base.exact else ROUNDED_LIMIT
    name = f"`{release.name}` ({release.digest[:19]}…)"
    numbers = (
        f"{measured.divergence:.4f} nats from its fingerprint, "
        f"which is {measured.separation:.4f} from its base"
    )
    if (measured.separation or 0.0) < SMALLEST_SEPARATION:
        return ProofFailed(
            f"{name} cannot be told from its base: {numbers}",
            hint="it was published untrained, or its fingerprint is not its own; build it again",
            measured=measured,
        )
    if off_base > rounding:
        return ProofFailed(
            f"{name}: the engine's base is not the one it was built on: "
            f"{off_base:.4f} nats from the fingerprint's base",
            hint=f"serve base {release.base.digest[:19]}… with the values training saw; "
            "`adapters show` names it",
            measured=measured,
        )
    if from_base < max(SMALLEST_SEPARATION, RATIO * (measured.separation or 0.0)):
        return ProofFailed(
            f"{name} does nothing in the engine: its answers are the base's ({numbers})",
            hint="the engine matched none of its module names; compare them with the base's",
            measured=measured,
        )
    return ProofFailed(
        f"{name} is not what was built: {numbers}",
        hint="files were swapped, or only a part of its modules was applied; publish it again",
        measured=measured,
    )


def _read(release: Release, fingerprint: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(fingerprint)
        complete = all(
            probe["positions"]
            and len(probe["positions"]) == len(probe["adapter"]) == len(probe["base"])
            and min(probe["positions"]) > 0
            and max(probe["positions"]) < len(probe["token_ids"])
            and all(probe["adapter"])
            and all(probe["base"])
            for probe in document["probes"]
        )
        if document["schema_version"] == 1 and document["probes"] and complete:
            return {**document, "probes": [_thinned(probe) for probe in document["probes"]]}
    except (ValueError, KeyError, TypeError) as error:
        raise _malformed(release) from error
    raise _malformed(release)


def _thinned(probe: dict[str, Any]) -> dict[str, Any]:
    """The probe with at most `POSITIONS` of its positions, spread over them, the last included."""
    count = len(probe["positions"])
    picked = sorted({count - 1 - count * step // POSITIONS for step in range(POSITIONS)})
    kept = {name: [probe[name][i] for i in picked] for name in ("positions", "adapter", "base")}
    return {**probe, **kept}


def _malformed(release: Release) -> IntegrityError:
    return IntegrityError(
        f"the fingerprint of `{release.name}` ({release.digest[:19]}…) is not in its format",
        hint="publish it again with this version of `adapters`",
    )


def _check_identity(engine: Engine, release: Release, document: dict[str, Any]) -> None:
    name = f"`{release.name}` ({release.digest[:19]}…)"
    if not document["base_digest"] == release.base.digest == engine.base.digest:
        raise ProofFailed(
            f"{name} was built on base {str(document['base_digest'])[:19]}…, "
            f"the engine serves {engine.base.digest[:19]}…",
            hint="serve it with its own base",
        )
    template = engine.base.template_digest
    if template is not None and document.get("template_digest") != template:
        raise ProofFailed(
            f"{name} was built with another chat template than its base has here",
            hint="restore the base's `chat_template.jinja`, or build the adapter again",
        )


def _servable(release: Release) -> Any:
    assert release.servable is not None
    return release.servable


def _prompts(document: dict[str, Any]) -> list[list[int]]:
    """What comes before each probed position: the prompts whose next token is compared."""
    return [
        probe["token_ids"][:position]
        for probe in document["probes"]
        for position in probe["positions"]
    ]
