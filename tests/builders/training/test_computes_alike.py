"""Whether a model computes rows behind what they share as it computes them alone: it is asked."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.training import shared_prefix
from adapterworks.builders.training.shared_prefix import computes_alike
from tests.builders.training.by_hand import Bigram, encoded_set


@pytest.fixture(scope="module")
def llama(tiny: Path) -> nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny)


def rows(length: int = 4) -> list[TokenSequence]:
    """Rows that begin with four tokens alike; the last three of each are learnt."""
    made = []
    for number in range(3):
        own = [20 + 7 * number + place for place in range(length + number)]
        ids = torch.tensor([0, 7, 8, 9, *own])
        labels = ids.clone()
        labels[:-3] = -100
        made.append(TokenSequence(ids, labels))
    return made


class Wrapped(nn.Module):
    """A model that may not do with a mask of four dimensions what it is told."""

    def __init__(self, inner: nn.Module, error: type[Exception] | None = None) -> None:
        super().__init__()
        self.inner, self.error = inner, error

    def forward(self, **inputs: Any) -> Any:
        if inputs["attention_mask"].dim() == 4:
            if self.error is not None:
                raise self.error("no such mask")
            inputs["attention_mask"] = None
        return self.inner(**inputs)


def test_a_model_that_sees_what_the_mask_says_computes_alike(llama: nn.Module) -> None:
    assert computes_alike(llama, rows(), pad=1, precision="fp32")
    assert not computes_alike(Wrapped(llama), rows(), pad=1, precision="fp32")


@pytest.mark.parametrize("error", [TypeError, ValueError, RuntimeError])
def test_a_model_that_takes_no_such_mask_does_not(llama: nn.Module, error: type[Exception]) -> None:
    assert not computes_alike(Wrapped(llama, error), rows(), pad=1, precision="fp32")


class Leaking(Bigram):
    """Every token's logits depend on all that stands in its row of the batch."""

    def forward(self, input_ids: torch.Tensor, **inputs: Any) -> Any:
        found = super().forward(input_ids, **inputs)
        found.logits[..., 0] += 0.1 * input_ids.float().mean()
        return found


@pytest.mark.parametrize("packing", [True, False])
def test_a_row_that_another_one_moves_is_found_however_much_is_tolerated(
    monkeypatch: pytest.MonkeyPatch, packing: bool
) -> None:
    """In bf16 a summed loss within 2 % passed for equal; that another row changes it does not."""
    monkeypatch.setattr(shared_prefix, "_TOLERANCE", {"fp32": 10.0})
    given = [sequence for (sequence,) in encoded_set().chosen([1, 3])]
    asked: dict[str, Any] = {"pad": 6, "precision": "fp32", "packing": packing}
    assert computes_alike(Bigram(), given, **asked)
    assert not computes_alike(Leaking(), given, **asked)


def test_one_token_that_is_off_is_not_made_up_for_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(*values: float) -> Any:
        return lambda *_, **__: Scores(torch.tensor(values), torch.zeros(2), 1)

    monkeypatch.setattr(shared_prefix, "score", said(-2.0, -1.0))
    monkeypatch.setattr(shared_prefix, "score_behind_shared", said(-1.0, -2.0))
    given = [*encoded_set().examples[0]]
    assert not computes_alike(Bigram(), given, pad=6, precision="bf16")


def test_what_else_goes_wrong_is_not_hidden(llama: nn.Module) -> None:
    with pytest.raises(KeyError):
        computes_alike(Wrapped(llama, KeyError), rows(), pad=1, precision="fp32")


@pytest.mark.parametrize(
    ("precision", "apart", "difference", "alike"),
    [
        ("fp32", -100.0, 0.8e-2, True),
        ("fp32", -100.0, -0.8e-2, True),
        ("fp32", -100.0, 1.5e-2, False),
        ("fp32", -100.0, -1.5e-2, False),
        ("fp32", -0.01, 0.8e-4, True),  # a small one counts as it is
        ("fp32", -0.01, 2.5e-4, False),
        ("bf16", -100.0, 4.5, True),
        ("bf16", -100.0, 6.0, False),
        ("fp16", -100.0, 0.8, True),
        ("fp16", -100.0, 1.5, False),
    ],
)
def test_how_much_they_may_differ_goes_by_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, apart: float, difference: float, alike: bool
) -> None:
    def said(value: float) -> Any:
        parts = torch.tensor([value / 2, value / 2], dtype=torch.float64)
        return lambda *_, **__: Scores(parts, torch.zeros(2), 1)

    monkeypatch.setattr(shared_prefix, "score", said(apart))
    monkeypatch.setattr(shared_prefix, "score_behind_shared", said(apart + difference))
    (one,), (other,) = encoded_set().chosen([0, 1])
    assert computes_alike(Bigram(), [one, other], pad=6, precision=precision) is alike


def test_asking_leaves_no_trace() -> None:
    """Neither in the random numbers, nor in the modes of the parts, nor a gradient."""

    class Drawing(Bigram):
        def forward(self, *args: Any, **inputs: Any) -> Any:
            torch.rand(3)
            return super().forward(*args, **inputs)

    model = Drawing(dropout=0.5)
    model.train()
    model.dropout.eval()
    before = torch.get_rng_state()
    sequences = [sequence for (sequence,) in encoded_set().chosen([0, 1])]
    assert computes_alike(model, sequences, pad=6, precision="fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.training, model.dropout.training) == (True, False)
    assert [seen["training"] for seen in model.seen] == [False] * 3
    assert not any(seen["gradient"] for seen in model.seen)
    assert model.seen[0]["input_ids"].tolist()[0] == [0, 3, 5, 6, 6, 6], "padded with `pad`"


def test_modes_come_back_also_when_it_fails() -> None:
    class Failing(Bigram):
        def forward(self, *args: Any, **inputs: Any) -> Any:
            raise KeyError("broken")

    model = Failing()
    model.train()
    with pytest.raises(KeyError):
        computes_alike(model, [*encoded_set().examples[0]], pad=6, precision="fp32")
    assert model.training


def test_virtual_tokens_stand_in_front_of_padded_rows_only() -> None:
    model = Bigram()
    sequences = [sequence for (sequence,) in encoded_set().chosen([0, 1])]

    class Prompted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, logits_to_keep: torch.Tensor, **inputs: Any) -> Any:
            virtual = 2 if inputs["attention_mask"].dim() == 2 else 0
            return self.inner(logits_to_keep=logits_to_keep - virtual, **inputs)

    assert computes_alike(Prompted(), sequences, pad=6, precision="fp32", virtual_tokens=2)


def test_what_is_equal_is_alike_however_little_is_tolerated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_prefix, "_TOLERANCE", {"fp32": 0.0})
    same = Scores(torch.tensor([-3.0]), torch.zeros(1), 1)
    monkeypatch.setattr(shared_prefix, "score", lambda *_, **__: same)
    monkeypatch.setattr(shared_prefix, "score_behind_shared", lambda *_, **__: same)
    assert computes_alike(Bigram(), [*encoded_set().examples[0]], pad=6, precision="fp32")


@pytest.mark.parametrize("name", ["cuda", "cpu"])
def test_a_gpus_random_numbers_are_left_alone_too(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda devices: asked.append(devices) or nullcontext()
    )
    device = torch.device(name)
    with shared_prefix.undisturbed(Bigram(), device):
        pass
    assert asked == [[device] if name == "cuda" else []]
