"""Proof that a loaded adapter does what it did when it was built, before anyone is answered by it.

The release's fingerprint holds, for probe prompts, the top log-probabilities that the adapter and
its base gave at build time. The engine is asked for the same positions under the loaded adapter.
The divergence at one position is the expected absolute difference of log-probabilities, in nats,
under the fingerprint's distribution over its top tokens; divergences are means over all positions.

Invariant: an adapter passes only if it is far closer to its own fingerprint than its base is
(`RATIO`), and within what the engine's precision explains; a fault never passes for a reason of its
own (fail closed).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from adapterworks.gateway.engines.engine import Engine, Scores
from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.residency.diagnosis import diagnose
from adapterworks.gateway.residency.probes import (
    Expected,
    Fingerprint,
    chosen,
    clearest,
    read_fingerprint,
    separation,
)
from adapterworks.gateway.residency.slices import in_slices
from adapterworks.gateway.residency.verdict import (
    RATIO,
    SMALLEST_SEPARATION,
    Answers,
    Proof,
    ProofFailed,
    divergence,
    limit,
)
from adapterworks.registry.releases.release import Release, Servable

FINGERPRINT = "fingerprint.json"
_PROBE_SALT = "fingerprint"


async def prove(
    engine: Engine,
    form: Form,
    release: Release,
    fingerprint: bytes | None,
    tell: Callable[[str], None] = lambda step: None,
    *,
    known: bool = False,
) -> Proof:
    """Compare the loaded adapter with its fingerprint.

    Args:
        fingerprint: the verified bytes of `fingerprint.json`; None for a release without one.
        tell: called with each step that was made.
        known: it was proved on another engine of this kind: one probe is asked, and the others only
            if that one does not match.

    Raises:
        ProofFailed: there is none, or it does not match; the message says in which way.
    """
    if fingerprint is None:
        raise ProofFailed(
            f"`{release.name}` ({release.digest[:19]}…) has no fingerprint: nothing says what it "
            "must answer",
            hint="import it again with `--fingerprint`, or build it again",
        )
    try:
        document = read_fingerprint(fingerprint)
    except ValueError as error:
        raise _malformed(release) from error
    _check_identity(engine, release, document)
    if known:
        short = await _measured(engine, form, release, clearest(document.probes), tell)
        if _passes(engine, short[0]):
            return replace(short[0], note="proved before on an engine of this kind")
    asked = chosen(document.probes)
    measured, got = await _measured(engine, form, release, asked, tell)
    if not _passes(engine, measured):
        probes = [one.probe for one in asked]
        expected = [at for one in asked for at in one.adapter]
        fields = {"model": engine.base.model, "cache_salt": _PROBE_SALT}
        engine_base, _ = await in_slices(lambda some: engine.score(fields, some), probes)
        base = [at for one in asked for at in one.base]
        raise diagnose(engine, release, measured, Answers(expected, base, got, engine_base))
    return measured


async def _measured(
    engine: Engine,
    form: Form,
    release: Release,
    asked: Sequence[Expected],
    tell: Callable[[str], None],
) -> tuple[Proof, list[Scores]]:
    """What the engine gives at the probes' positions, beside what it should."""
    probes = [one.probe for one in asked]
    expected = [at for one in asked for at in one.adapter]
    began = time.perf_counter()
    servable = _servable(release)
    got, tokens = await in_slices(
        lambda some: form.score(engine, release.digest, servable, some, _PROBE_SALT),
        probes,
        alone=lambda: not engine.inflight,
        scored=lambda count: tell(f"proving it, {count} of {len(probes)} probes answered"),
    )
    measured = Proof(
        "proved",
        divergence=divergence(expected, got),
        separation=separation(asked),
        milliseconds=(time.perf_counter() - began) * 1000,
        tokens=tokens,
    )
    return measured, got


def _passes(engine: Engine, proof: Proof) -> bool:
    assert proof.divergence is not None
    assert proof.separation is not None
    return (
        proof.separation >= SMALLEST_SEPARATION
        and proof.divergence <= RATIO * proof.separation
        and proof.divergence <= limit(engine.base.exact)
    )


def _malformed(release: Release) -> ProofFailed:
    return ProofFailed(
        f"the fingerprint of `{release.name}` ({release.digest[:19]}…) is not in its format",
        hint="publish it again with this version of `adapters`",
    )


def _check_identity(engine: Engine, release: Release, document: Fingerprint) -> None:
    name = f"`{release.name}` ({release.digest[:19]}…)"
    if not document.base_digest == release.base.digest == engine.base.digest:
        raise ProofFailed(
            f"{name} was built on base {document.base_digest[:19]}…, "
            f"the engine serves {engine.base.digest[:19]}…",
            hint="serve it with its own base",
        )
    template = engine.base.template_digest
    if template is not None and document.template_digest != template:
        raise ProofFailed(
            f"{name} was built with another chat template than its engine has",
            hint="restore the base's `chat_template.jinja` where the engine runs, or build the "
            "adapter again",
        )


def _servable(release: Release) -> Servable:
    assert release.servable is not None
    return release.servable
