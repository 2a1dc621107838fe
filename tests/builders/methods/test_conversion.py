"""Conversion is equality: the method's own model and its servable form give the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import cut, relative_error
from adapterworks.builders.methods.shape import read_shape
from tests.builders.build_support import TinyJob

pytestmark = pytest.mark.train
Make = Callable[..., TinyJob]
IDS = [0, 17, 42, 99, 130, 7, 201, 17]


def converted(job: TinyJob, folder: Path, **serve: Any) -> Conversion:
    manifest = job.plan.manifest
    if serve:
        manifest = manifest.model_copy(update={"serve": manifest.serve.model_copy(update=serve)})
    source = Source(job.folder / "adapter", job.base, read_shape(job.base), manifest)
    return METHODS[manifest.method.kind].convert(source, folder)


def own_log_probabilities(job: TinyJob, base: Path) -> torch.Tensor:
    """What PEFT (or the full checkpoint) itself answers."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = job.folder / "adapter"
    if job.plan.manifest.method.kind == "full":
        model: Any = AutoModelForCausalLM.from_pretrained(adapter)
    else:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    model.eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([IDS]), attention_mask=torch.ones(1, len(IDS))).logits
    return torch.log_softmax(logits[0, -len(IDS) :], dim=-1)


@pytest.mark.parametrize(
    ("kind", "method", "origin"),
    [
        ("lora", {"rank": 8}, "native"),
        ("lora", {"rank": 4}, "exact"),
        ("lora", {"rank": 8, "rslora": True}, "native"),
        ("lora", {"rank": 4, "rslora": True}, "exact"),
        ("adalora", {"rank": 2, "initial_rank": 4}, "exact"),
        ("prompt-tuning", {"virtual_tokens": 5}, "exact"),
        ("prefix-tuning", {"virtual_tokens": 5}, "exact"),
        ("p-tuning-v2", {"virtual_tokens": 5}, "exact"),
    ],
)
def test_exact_forms_answer_as_peft_does(
    job: Make, tiny: Path, tmp_path: Path, kind: str, method: dict[str, Any], origin: str
) -> None:
    trained = job(kind, method=method, learning_rate=2e-2)
    trained.run()
    conversion = converted(trained, tmp_path / "servable")
    served = ServedModel(tiny, tmp_path / "servable", conversion.servable)
    expected = own_log_probabilities(trained, tiny)
    got = served.log_probabilities(IDS)
    assert conversion.servable.origin == origin
    assert conversion.servable.error == 0.0
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    base = served.log_probabilities(IDS, adapter=False)
    assert float((expected - base).abs().max()) > 1e-3, "the training changed nothing"


@pytest.mark.parametrize("kind", ["dora", "full"])
def test_a_full_rank_cut_answers_as_the_trained_model(
    job: Make, tiny: Path, tmp_path: Path, kind: str
) -> None:
    method = {"rank": 8} if kind == "dora" else {}
    trained = job(kind, method=method, learning_rate=1e-2 if kind == "dora" else 2e-4)
    trained.run()
    conversion = converted(trained, tmp_path / "servable", conversion_rank=64)
    assert conversion.servable.error < 1e-5
    served = ServedModel(tiny, tmp_path / "servable", conversion.servable)
    expected = own_log_probabilities(trained, tiny)
    if kind == "full":
        # Embeddings and norms are not LoRA's to carry: they are named, and they explain the rest.
        assert "model.embed_tokens.weight" in conversion.left_out
    else:
        torch.testing.assert_close(served.log_probabilities(IDS), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["dora", "full"])
def test_a_cut_states_the_error_that_its_numbers_have(
    job: Make, tiny: Path, tmp_path: Path, kind: str
) -> None:
    trained = job(kind, learning_rate=1e-2 if kind == "dora" else 2e-4)
    trained.run()
    coarse = converted(trained, tmp_path / "coarse", conversion_rank=1)
    fine = converted(trained, tmp_path / "fine", conversion_rank=32)
    assert 0 < fine.servable.error < coarse.servable.error < 1
    assert coarse.servable.rank == 1


def test_a_cut_is_the_best_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((24, 40), (40, 24)):
        delta = torch.randn(shape, generator=generator)
        values = torch.linalg.svdvals(delta.double())
        best = float((values[5:].square().sum() / values.square().sum()).sqrt())
        error = relative_error({"m": delta}, {"m": cut(delta, 5)})
        assert error == pytest.approx(best, rel=1e-4)


def test_prefix_tensors_have_the_engine_plugins_shape(job: Make, tmp_path: Path) -> None:
    trained = job("p-tuning-v2", method={"virtual_tokens": 5})
    trained.run()
    converted(trained, tmp_path / "servable")
    tensors = load_file(tmp_path / "servable" / "prefix.safetensors")
    assert set(tensors) == {f"layers.{i}.{kind}" for i in (0, 1) for kind in ("key", "value")}
    for tensor in tensors.values():
        assert tensor.shape == (5, 2, 16)
        assert tensor.dtype == torch.float32
