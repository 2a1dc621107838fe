"""Why an adapter was not proved: what the engine did instead, and what the release's files say.

Invariant: a message states what was measured; what may have caused it is in the hint. Findings are
facts about bytes in the registry. They may name other adapters, so no tenant sees them.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.verdict import (
    RATIO,
    SMALLEST_SEPARATION,
    Answers,
    Effect,
    Proof,
    ProofFailed,
    divergence,
    effect,
    limit,
)
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.imports.folder import CONFIG, WEIGHTS
from adapterworks.registry.imports.header import read_header
from adapterworks.registry.imports.values import check_finite
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import ADAPTER, SERVABLE, Release

# Cosine from which on two shifts count as the same direction, and by how much lengths must differ
# to count as another strength.
_SAME_DIRECTION = 0.9
_OTHER_STRENGTH = 0.15


def diagnose(engine: Engine, release: Release, measured: Proof, answers: Answers) -> ProofFailed:
    """Which fault it is: of the base, of the fingerprint, or of what the adapter does."""
    assert measured.divergence is not None
    assert measured.separation is not None
    from_base = divergence([sorted(position.items()) for position in answers.got], answers.got_base)
    off_base = divergence(answers.expected_base, answers.got_base)
    name = f"`{release.name}` ({release.digest[:19]}…)"
    numbers = (
        f"{measured.divergence:.4f} nats from its fingerprint, "
        f"which is {measured.separation:.4f} from its base"
    )
    if measured.separation < SMALLEST_SEPARATION:
        message = f"{name} cannot be told from its base by its fingerprint: {numbers}"
        hint = "it was published untrained, or its fingerprint is not its own; build it again"
    elif off_base > limit(engine.base.exact):
        message = (
            f"{name}: the engine's base is not the one it was built on: "
            f"{off_base:.4f} nats from the fingerprint's base"
        )
        hint = (
            f"serve base {release.base.digest[:19]}… with the values training saw; "
            "`adapters show` names it"
        )
    elif from_base < SMALLEST_SEPARATION:
        message = f"{name} does nothing in the engine: its answers are the base's ({numbers})"
        hint = "its weights are zero, or the engine matched none of its module names"
    elif from_base < RATIO * measured.separation:
        message = f"{name} does next to nothing: {from_base:.4f} nats from its base ({numbers})"
        hint = "its weights are in the wrong places, or nearly all of them are missing"
    else:
        message, hint = _acts(name, numbers, measured, effect(answers))
    return ProofFailed(message, hint=hint, measured=measured)


def _acts(name: str, numbers: str, measured: Proof, found: Effect) -> tuple[str, str]:
    """The adapter does something, but not what it was built to do."""
    assert measured.divergence is not None
    assert measured.separation is not None
    again = "publish it again from the files that were built"
    measures = f"{numbers}; direction {found.similarity:.2f}, strength {found.strength:.2f}"
    if found.similarity >= _SAME_DIRECTION and abs(found.strength - 1) > _OTHER_STRENGTH:
        return (
            f"{name} acts {found.strength:.2f} times as strongly as it was built to ({measures})",
            "its scale is another (`lora_alpha`, `r`, `use_rslora`), or a part of it was not "
            f"applied; {again}",
        )
    if measured.divergence < measured.separation:
        return (
            f"{name} is only in part what was built: nearer to its fingerprint than its base is "
            f"({measures})",
            "some of its modules or layers are missing or not its own, or its scale is another "
            f"(`lora_alpha`, `r`, `use_rslora`); {again}",
        )
    return (
        f"{name} is not what was built: further from its fingerprint than its base is ({measures})",
        f"these are another adapter's weights, or its own in the wrong places; {again}",
    )


def findings(registry: Registry, release: Release, folder: Path) -> tuple[str, ...]:
    """What the files say of themselves.

    Args:
        folder: the checkout that the engine was given.
    """
    found = [*_copies(release), *_owners(registry, release)]
    try:
        found += _tensors(registry, release, folder / WEIGHTS)
    except AdapterworksError as error:
        found.append(error.message)
    return tuple(found)


def _copies(release: Release) -> list[str]:
    """A native form is served as it was trained: the very same files."""
    if release.servable is None or release.servable.origin != "native":
        return []
    return [
        f"`{SERVABLE}/{file}` is not the `{ADAPTER}/{file}` that it is said to be"
        for file in (CONFIG, WEIGHTS)
        if _digest(release, ADAPTER, file) not in (None, _digest(release, SERVABLE, file))
    ]


def _owners(registry: Registry, release: Release) -> list[str]:
    """Who had these weights first, if it was not trained here."""
    weights = _digest(release, SERVABLE, WEIGHTS)
    if weights is None or weights == _digest(release, ADAPTER, WEIGHTS):
        return []
    others = [o for o in registry.origins.releases_with(weights) if o.digest != release.digest]
    return [f"its weights are those of `{other}`" for other in others[:1]]


def _tensors(registry: Registry, release: Release, weights: Path) -> list[str]:
    """Tensors that are zero, not finite, or not there at all."""
    if not weights.exists():
        return []
    nonzero = check_finite(weights, read_header(weights))
    lifts = {name: value for name, value in nonzero.items() if ".lora_B" in name}
    zeros = sum(not value for value in lifts.values())
    found = [f"{zeros} of its {len(lifts)} `lora_B` are zero"] if zeros else []
    if _digest(release, ADAPTER, WEIGHTS) is None:
        return found
    trained = read_header(registry.checkout(release.digest, ADAPTER) / WEIGHTS)
    missing = len(trained.tensors.keys() - nonzero.keys())
    if missing:
        found.append(f"{missing} of the {len(trained.tensors)} trained tensors are not in it")
    return found


def _digest(release: Release, role: str, file: str) -> str | None:
    entry = release.files.get(f"{role}/{file}")
    return None if entry is None else entry.digest
