"""What goes into a merge: releases that can be merged with each other, and a complete recipe.

Invariant: whatever is refused is refused before anything is loaded, with what to do instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adapterworks.builders.merging.rules import RULES
from adapterworks.builders.merging.rules.recipe import DENSITY, SEED, Recipe
from adapterworks.builders.methods.technique import ENGINE_RANKS, engine_rank
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Release

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Parent:
    """One adapter that goes into a merge, under the ref that it was named by."""

    ref: str
    release: Release
    weight: float


def find_parents(
    registry: Registry, refs: Sequence[str], weights: Sequence[float] | None
) -> tuple[Parent, ...]:
    """The adapters, each of which can be merged with the others.

    Args:
        weights: one for each ref; equal shares that sum to 1 without them.

    Raises:
        InvalidInput, Refused, NotFound: see `run_merge`.
    """
    if len(refs) < 2:
        raise InvalidInput("a merge needs at least two adapters", hint="name two or more refs")
    shares = [1 / len(refs)] * len(refs) if weights is None else list(weights)
    if len(shares) != len(refs):
        raise InvalidInput(
            f"{len(refs)} adapters, but {len(shares)} weights",
            hint="give one weight for each adapter, in their order",
        )
    if not all(math.isfinite(share) and share for share in shares):
        raise InvalidInput(
            "a weight is zero or not a number", hint="leave out an adapter that has no weight"
        )
    parents = []
    for ref, share in zip(refs, shares, strict=True):
        resolved = registry.resolve(ref)
        release = registry.release(resolved.digest)
        _check_mergeable(str(resolved), release)
        parents.append(Parent(str(resolved), release, share))
    if len({parent.release.digest for parent in parents}) < len(parents):
        raise InvalidInput(
            "the same release is named twice", hint="name it once, with the sum of its weights"
        )
    first = parents[0]
    for parent in parents[1:]:
        if parent.release.base.digest != first.release.base.digest:
            raise Refused(
                f"`{first.ref}` and `{parent.ref}` have different bases: "
                f"{_shown(first.release)} and {_shown(parent.release)}",
                hint="only adapters trained on the very same values can be merged",
            )
    return tuple(parents)


def _check_mergeable(ref: str, release: Release) -> None:
    servable = release.servable
    if servable is None:
        raise Refused(f"`{ref}` has no servable form, so there is nothing to merge")
    if servable.form != LORA:
        raise Refused(
            f"`{ref}` is served as {servable.form}: virtual tokens have no weight delta to add up",
            hint="merge adapters whose servable form is LoRA",
        )


def _shown(release: Release) -> str:
    base = release.base
    return f"{base.model} ({base.quantization}, {base.digest[:19]}…)"


def complete(recipe: Recipe, parents: Sequence[Parent]) -> Recipe:
    """The recipe with the rule's defaults.

    Raises:
        InvalidInput, Refused: an option that the rule does not use, or cannot use so.
    """
    if recipe.method not in RULES:
        raise InvalidInput(
            f"`{recipe.method}` is not a way to merge", hint=f"use one of {', '.join(RULES)}"
        )
    rule = recipe.rule
    used = {
        "density": rule.prunes,
        "seed": rule.random,
        "rank": rule.space == "deltas",
    }
    for option, applies in used.items():
        if getattr(recipe, option) is not None and not applies:
            raise InvalidInput(
                f"`{recipe.method}` has no {option}",
                hint=f"leave out `--{option}`, or use another `--rule`",
            )
    if recipe.density is not None and not 0 < recipe.density < 1:
        raise InvalidInput(f"density {recipe.density:g} is not between 0 and 1")
    if recipe.rank is not None and recipe.rank not in ENGINE_RANKS:
        raise InvalidInput(
            f"the engine has no rank {recipe.rank}",
            hint=f"use one of {', '.join(map(str, ENGINE_RANKS))}",
        )
    ranks = [_rank(parent.release) for parent in parents]
    if rule.space == "rows" and sum(ranks) > ENGINE_RANKS[-1]:
        raise Refused(
            f"side by side the ranks add up to {sum(ranks)}, the engine's largest is "
            f"{ENGINE_RANKS[-1]}",
            hint="cut the sum: `--rule svd --rank N`",
        )
    return replace(
        recipe,
        density=recipe.density or (DENSITY if rule.prunes else None),
        seed=SEED if rule.random and recipe.seed is None else recipe.seed,
        rank=recipe.rank or (engine_rank(max(ranks)) if used["rank"] else None),
    )


def _rank(release: Release) -> int:
    assert release.servable is not None
    assert release.servable.rank is not None
    return release.servable.rank
