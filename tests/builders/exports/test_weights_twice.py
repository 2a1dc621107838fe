"""A base whose publisher put its weights there a second time is exported from the first ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from adapterworks.builders.exports.onnx import graph
from tests.builders.exports.conftest import OPTIONS
from tests.builders.exports.test_proof import export
from tests.builders.merging.conftest import Shelf, make_shelf

TWICE = "consolidated.safetensors"


@pytest.fixture
def twice(tmp_path: Path, checkpoints: Callable[[str], Path]) -> Shelf:
    """On a Mistral as its publisher lays it out: the same again under names of his own.

    One tensor has a name of the checkpoint and other numbers, so that reading it shows.
    """
    base = shutil.copytree(checkpoints("mistral"), tmp_path / "mistral")
    with safe_open(base / "model.safetensors", framework="pt") as file:
        norm = file.get_tensor("model.norm.weight")
        query = file.get_tensor("model.layers.0.self_attn.q_proj.weight")
    again = {"layers.0.attention.wq.weight": query, "model.norm.weight": torch.zeros_like(norm)}
    save_file(again, base / TWICE)
    (base / "consolidated.safetensors.index.json").write_text("{}")
    shelf = make_shelf(tmp_path, base)
    shelf.publish("one", 1, **OPTIONS)
    return shelf


@pytest.mark.parametrize("form", ["gguf", "gguf-lora", "merged"])
def test_what_lies_beside_the_weights_is_not_exported(twice: Shelf, form: str) -> None:
    done = export(twice, form, type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    if done.place.is_dir():
        assert [path.name for path in done.place.iterdir() if "consolidated" in path.name] == []


@pytest.mark.slow  # the exporter takes ten seconds
@pytest.mark.parametrize("form", ["onnx", "onnx-lora"])
def test_nor_is_it_in_a_graph(twice: Shelf, form: str) -> None:
    done = export(twice, form, type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    names = {path.name for path in done.place.iterdir()}
    assert {graph.MODEL, graph.WEIGHTS} <= names
    assert [name for name in names if name.endswith((".safetensors", ".index.json"))] == []
