"""SmolLM2-135M-Instruct with two of its thirty layers, under its own name.

Where weights do not matter, everything that asks for `smollm2-135m-instruct` gets this: tokenizer,
template, shapes and names are the real model's, a step costs a quarter, and a checkpoint is read in
a second. Its digest is its own, so nothing can take one for the other. A `conftest.py` that imports
the fixtures below puts its folder on it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore, Progress

CACHE = Path(__file__).resolve().parent.parent / ".cache"
WHOLE_BASES = CACHE / "bases"
SMALL_BASES = CACHE / "bases-of-two-layers"
MODEL = "smollm2-135m-instruct"
LAYERS = 2


class SmallBases(BaseStore):
    """A store whose embedded models have two layers; any process may open it as a `BaseStore`.

    Args:
        root: where they are kept, for later runs too.
        whole: the store of the same models as they are published.
    """

    def __init__(self, root: Path = SMALL_BASES, whole: Path = WHOLE_BASES) -> None:
        super().__init__(root)
        self._whole = BaseStore(whole)

    def _dense(self, source: str, staging: Path, say: Progress) -> Path:
        if not source.startswith("package:"):
            return super()._dense(source, staging, say)
        name = next(entry.name for entry in self._whole.sources() if entry.model == source)
        folder = staging / "checkpoint"
        shutil.copytree(self._whole.ensure(name).checkpoint, folder)
        _cut(folder)
        return folder


def _cut(folder: Path) -> None:
    """Leave a checkpoint its first layers."""
    from safetensors.torch import load_file, save_file

    config = folder / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "num_hidden_layers": LAYERS}, indent=2) + "\n")
    weights = folder / "model.safetensors"
    gone = tuple(f"model.layers.{layer}." for layer in range(LAYERS, values["num_hidden_layers"]))
    kept = {key: value for key, value in load_file(weights).items() if not key.startswith(gone)}
    weights.unlink()
    save_file(kept, weights, metadata={"format": "pt"})


@pytest.fixture(scope="session")
def bases() -> BaseStore:
    """The store in which the model's name means its first two layers."""
    return SmallBases()


@pytest.fixture(scope="session")
def base(bases: BaseStore) -> Base:
    """The first two layers of SmolLM2-135M-Instruct (dense float32)."""
    return bases.ensure(MODEL)


@pytest.fixture(scope="session")
def nf4_base(bases: BaseStore) -> Base:
    """The same, quantized to NF4."""
    return bases.ensure(MODEL, quantization="nf4")


@pytest.fixture(
    scope="module", params=["two-layers", pytest.param("whole", marks=pytest.mark.slow)]
)
def either_bases(request: pytest.FixtureRequest) -> BaseStore:
    """The small store; in `make test-all` also the model as published, as a user has it."""
    return BaseStore(WHOLE_BASES) if request.param == "whole" else SmallBases()
