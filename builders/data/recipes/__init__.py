"""Recipes: installed packages → rows, deterministically; nothing fetched, nothing stored.

One file each, and a line in `manifests/builtin.py`. A source is `NAME:train|validation|test`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from adapterworks.builders.data.datasheet import Datasheet
from adapterworks.builders.data.recipes.recipe import SPLITS, Derived, Recipe
from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.extensions import Table

RECIPES: Table[Recipe] = Table("recipes", Recipe)


def load_recipe(source: str, *, cache: Path | None = None) -> tuple[tuple[Row, ...], Datasheet]:
    """One split of a recipe.

    Raises:
        NotFound: no such recipe, or its package is not installed.
        InvalidInput: no such split.
    """
    name, _, split = source.partition(":")
    if name not in RECIPES:
        raise NotFound(
            f"there is no data recipe `{name}`", hint=f"known: {', '.join(sorted(RECIPES))}"
        )
    if split not in SPLITS:
        raise InvalidInput(
            f"`{source}` names no split",
            hint=f"write `{name}:train`, or one of {', '.join(SPLITS)}",
        )
    recipe = RECIPES.named(name)
    derived = _derive(recipe, cache)
    rows = derived.splits[split]
    return rows, Datasheet(
        source=source,
        origin=derived.origin,
        license=recipe.license,
        files=derived.files,
        digest=rows_digest(rows),
        rows=len(rows),
        counts=derived.counts,
        description=recipe.description,
    )


@lru_cache(maxsize=8)
def _derive(recipe: Recipe, cache: Path | None) -> Derived:
    """A recipe's three splits, derived once per process."""
    return recipe.derive(cache)
