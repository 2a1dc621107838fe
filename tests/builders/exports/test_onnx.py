"""ONNX exports are the release in ONNX Runtime: its graph, its cache, its numbers, its adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.exports import run
from adapterworks.builders.exports.onnx import folder, graph
from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.manifests.installing import install
from tests.builders.exports.test_proof import export, left
from tests.builders.merging.conftest import Shelf


@pytest.mark.slow  # the exporter takes ten seconds
def test_onnx_runtime_computes_the_release(shelf: Shelf) -> None:
    """Distributions without the cache, greedy answers through it, to float32's last digits."""
    done = export(shelf, "onnx", type_="f32")
    assert done.proof is not None
    assert done.proof.engine == "ONNX Runtime"
    assert done.proof.divergence < 1e-7
    assert done.proof.base_divergence is not None
    assert done.proof.base_divergence > 1
    assert done.proof.same_answers == done.proof.answers == 5
    assert done.to_json()["opset"] == graph.OPSET
    (event,) = shelf.registry.log.events("one", version=1, facts=True)
    assert event.data["opset"] == graph.OPSET
    import onnx

    model = onnx.load(done.place / graph.MODEL, load_external_data=False)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["adapterworks.release"] == shelf.registry.resolve("one@1").digest
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {graph.OPSET}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("form", ["onnx", "onnx-lora"])
def test_every_family_in_both_forms(
    shelves: Callable[[str], Shelf], family: str, form: str
) -> None:
    """Biases, norms of heads, untied outputs."""
    done = export(shelves(family), form, type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    assert done.proof.same_answers == done.proof.answers == 5


@pytest.mark.slow  # the exporter takes ten seconds
def test_numbers_cost_what_they_round(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.builders.exports.proof import BOUNDS, Bound

    # The bound is one of trained weights; random ones in blocks of 32 may lose more to four bits.
    monkeypatch.setitem(BOUNDS, "int4", Bound(4.0, None))
    found = {
        t: export(shelf, "onnx", type_=t, out=shelf.folder / t) for t in ("f16", "int8", "int4")
    }
    costs = [done.proof.divergence for done in found.values() if done.proof is not None]
    assert costs == sorted(costs)
    assert 1e-9 < costs[0] < 1e-3
    assert found["int4"].size < found["int8"].size < found["f16"].size


@pytest.mark.slow  # the exporter takes ten seconds
def test_an_adapter_is_chosen_at_a_request(shelf: Shelf) -> None:
    """Without it the graph is the base, in plain ONNX Runtime; with it onnxruntime-genai proves."""
    from adapterworks.builders.evaluation.served_model import ServedModel
    from adapterworks.builders.exports.proof import divergence
    from adapterworks.builders.exports.readers.onnx_runtime import OnnxRuntime
    from adapterworks.builders.exports.readers.reference import Reference
    from tests.builders.merging.conftest import IDS

    done = export(shelf, "onnx-lora", type_="f32")
    assert done.proof is not None
    assert done.proof.engine == "onnxruntime-genai"
    assert done.proof.divergence < 1e-7
    assert done.proof.same_answers == done.proof.answers == 5
    assert done.proof.same_texts == done.proof.texts
    assert 0 < done.to_json()["adapter_size"] < done.size
    base = Reference(ServedModel(shelf.base.served), shelf.base.served).next_token(IDS, 20)
    assert divergence(base, OnnxRuntime(done.place).next_token(IDS, 400)) < 1e-7


@pytest.mark.slow  # the exporter takes ten seconds
def test_a_lost_scale_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.builders.exports import lora

    monkeypatch.setattr(lora, "module_scale", lambda config, module: 1.0)
    with pytest.raises(Refused, match="other distributions"):
        export(shelf, "onnx", type_="f32")
    assert left(shelf) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma3_text"}, "type `gemma3_text`"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "dynamic"}}, "`dynamic`"),
        ({"model_type": "mistral", "sliding_window": 4096}, "slides over 4096"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "llama3"}}, ""),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, ""),
    ],
)
def test_bases_whose_graph_would_compute_otherwise(config: dict[str, Any], words: str) -> None:
    (*said,) = folder.strange(config)
    assert len(said) == bool(words)
    assert words in "".join(said)


def test_what_is_not_installed_is_named_with_its_extra(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {"onnxruntime"}
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None if name in gone else 1)
    with pytest.raises(Unavailable, match="proved in ONNX Runtime") as refused:
        export(shelf, "onnx")
    assert install("onnx") in (refused.value.hint or "")
    gone.add("onnxscript")
    with pytest.raises(Unavailable, match="written with onnxscript"):
        export(shelf, "onnx", unproved=True)


def test_what_the_generator_is_told(tmp_path: Path) -> None:
    """Heads of their own width, end tokens that `config.json` does not name, no padding token."""
    config = {
        "model_type": "qwen3",
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_hidden_layers": 2,
        "vocab_size": 300,
        "max_position_embeddings": 512,
        "bos_token_id": 7,
        "eos_token_id": 3,
    }
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "from" / "tokenizer.json").write_text("{}")
    folder.copy_beside(tmp_path / "from", tmp_path / "to", config, (4, 3))
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "genai_config.json",
        "tokenizer.json",
    ]
    told = json.loads((tmp_path / "to" / "genai_config.json").read_text())["model"]
    assert (told["type"], told["bos_token_id"], told["pad_token_id"]) == ("qwen3", 7, 4)
    assert told["eos_token_id"] == [4, 3]
    assert folder.genai_config(config, ())["model"]["eos_token_id"] == 0
    assert (told["decoder"]["head_size"], told["decoder"]["num_key_value_heads"]) == (32, 2)
