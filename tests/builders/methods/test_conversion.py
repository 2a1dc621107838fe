"""Conversion is equality: the method's own model and its servable form give the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.shape import read_shape
from tests.builders.build_support import TinyJob
from tests.builders.methods.made import convert, draw

Make = Callable[..., TinyJob]
IDS = [0, 17, 42, 99, 130, 7, 201, 17]


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
    tiny: Path, tmp_path: Path, kind: str, method: dict[str, Any], origin: str
) -> None:
    drawn = draw(kind, tiny, tmp_path, **method)
    done = convert(drawn.source, tmp_path / "servable")
    assert (done.servable.origin, done.servable.error) == (origin, 0.0)
    served = ServedModel(tiny, tmp_path / "servable", done.servable)
    expected = drawn.answers(IDS)
    torch.testing.assert_close(served.log_probabilities(IDS), expected, rtol=0, atol=5e-5)
    base = served.log_probabilities(IDS, adapter=False)
    assert float((expected - base).abs().max()) > 1e-2, "the adapter changes nothing"


def test_a_full_rank_cut_of_dora_answers_as_peft_does(tiny: Path, tmp_path: Path) -> None:
    drawn = draw("dora", tiny, tmp_path, rank=8, serve={"conversion_rank": 64})
    done = convert(drawn.source, tmp_path / "servable")
    assert done.servable.error < 1e-5
    served = ServedModel(tiny, tmp_path / "servable", done.servable)
    expected = drawn.answers(IDS)
    torch.testing.assert_close(served.log_probabilities(IDS), expected, rtol=0, atol=1e-4)
    assert float((expected - served.log_probabilities(IDS, adapter=False)).abs().max()) > 1e-2


@pytest.mark.train
@pytest.mark.parametrize("kind", ["adalora", "dora", "full", "p-tuning-v2"])
def test_what_a_training_writes_is_what_is_converted(
    job: Make, tiny: Path, tmp_path: Path, kind: str
) -> None:
    """Pruned ranks, merged magnitudes, a checkpoint, a folded MLP: as `Trainer` leaves them."""
    trained = job(kind, learning_rate=2e-4 if kind == "full" else 1e-2)
    trained.run()
    source = Source(
        trained.folder / "adapter", trained.base, read_shape(trained.base), trained.plan.manifest
    )
    done = convert(source, tmp_path / "servable")
    served = ServedModel(tiny, tmp_path / "servable", done.servable)
    change = served.log_probabilities(IDS) - served.log_probabilities(IDS, adapter=False)
    assert float(change.abs().max()) > 1e-4, "the training changed nothing"
    assert done.servable.error < 0.5
