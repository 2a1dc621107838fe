"""A registry with adapters on tiny models of several families."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.builders.exports.models import make_model
from tests.builders.merging.conftest import Shelf, copy_shelf, make_shelf

# Every linear that llama.cpp orders otherwise, scales of three kinds.
OPTIONS = {
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"],
    "use_rslora": True,
    "rank_pattern": {"q_proj": 4},
    "alpha_pattern": {"layers.0.mlp.down_proj": 5},
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint of a family, made once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(family: str) -> Path:
        place = folder / family
        return place if place.exists() else make_model(place, family)

    return make


@pytest.fixture(scope="session")
def stocked(
    tmp_path_factory: pytest.TempPathFactory, checkpoints: Callable[[str], Path]
) -> Callable[[str], Shelf]:
    """What the registries of `shelves` are copies of."""

    @cache
    def make(family: str) -> Shelf:
        shelf = make_shelf(tmp_path_factory.mktemp("stocked"), checkpoints(family))
        shelf.publish("one", 1, **OPTIONS)
        shelf.registry.close()
        return shelf

    return make


@pytest.fixture
def shelves(
    tmp_path: Path, checkpoints: Callable[[str], Path], stocked: Callable[[str], Shelf]
) -> Callable[[str], Shelf]:
    """A registry on a family's model, with the adapter `one@1`."""
    return lambda family: copy_shelf(stocked(family), tmp_path, checkpoints(family))


@pytest.fixture
def shelf(shelves: Callable[[str], Shelf]) -> Shelf:
    """On a Llama."""
    return shelves("llama")
