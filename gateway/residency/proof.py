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
from typing import Any

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.residency.diagnosis import diagnose
from adapterworks.gateway.residency.slices import in_slices
from adapterworks.gateway.residency.verdict import (
    RATIO,
    SMALLEST_SEPARATION,
    Answers,
    Position,
    Proof,
    ProofFailed,
    divergence,
    limit,
)
from adapterworks.registry.releases.release import Release

FINGERPRINT = "fingerprint.json"
# Positions compared in each probe: each is a prompt of its own to the engine, and more probes say
# more than more positions.
POSITIONS = 3
_PROBE_SALT = "fingerprint"


async def prove(engine: Engine, form: Form, release: Release, fingerprint: bytes | None) -> Proof:
    """Compare the loaded adapter with its fingerprint.

    Args:
        fingerprint: the verified bytes of `fingerprint.json`; None for a release without one.

    Raises:
        ProofFailed: there is none, or it does not match; the message says in which way.
    """
    if fingerprint is None:
        raise ProofFailed(
            f"`{release.name}` ({release.digest[:19]}…) has no fingerprint: nothing says what it "
            "must answer",
            hint="import it again with `--fingerprint`, or build it again",
        )
    probes = _read(release, fingerprint)
    _check_identity(engine, release, probes)
    prompts = _prompts(probes)
    expected: list[Position] = [at for probe in probes["probes"] for at in probe["adapter"]]
    base: list[Position] = [at for probe in probes["probes"] for at in probe["base"]]
    began = time.perf_counter()
    servable = _servable(release)
    got, tokens = await in_slices(
        lambda some: form.score(engine, release.digest, servable, some, _PROBE_SALT), prompts
    )
    measured = Proof(
        "proved",
        divergence=divergence(expected, got),
        separation=divergence(expected, [dict(position) for position in base]),
        milliseconds=(time.perf_counter() - began) * 1000,
        tokens=tokens,
    )
    if not _passes(engine, measured):
        fields = {"model": engine.base.model, "cache_salt": _PROBE_SALT}
        engine_base, _ = await in_slices(lambda some: engine.score(fields, some), prompts)
        raise diagnose(engine, release, measured, Answers(expected, base, got, engine_base))
    return measured


def _passes(engine: Engine, proof: Proof) -> bool:
    assert proof.divergence is not None
    assert proof.separation is not None
    return (
        proof.separation >= SMALLEST_SEPARATION
        and proof.divergence <= RATIO * proof.separation
        and proof.divergence <= limit(engine.base.exact)
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


def _malformed(release: Release) -> ProofFailed:
    return ProofFailed(
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
