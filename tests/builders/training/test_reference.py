"""What the model said before anything was learnt: once, without the method and without dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.reference import compare_with_reference, with_reference
from adapterworks.manifests.errors import Refused
from tests.builders.training.by_hand import ROWS, Bigram, Processes, encoded_set, table_of


class Compared(type(OBJECTIVES["sft"])):  # type: ignore[misc]
    reference = True


class Adapted(Bigram):
    """Its method adds 5 to what follows token 0 with 0, and can be taken away."""

    adapted = True

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        self.adapted = False
        yield
        self.adapted = True

    def forward(self, *args: Any, **inputs: Any) -> Any:
        found = super().forward(*args, **inputs)
        return SimpleNamespace(logits=found.logits + 5.0 * self.adapted * torch.eye(7)[0])


def forward(model: Bigram, objective: Any = None) -> Forward:
    return Forward(objective or Compared(), model, model, False, 0, 6)


def plan(reference: str | None = "base", **objective: float) -> Any:
    said = SimpleNamespace(objective=SimpleNamespace(**objective))
    return SimpleNamespace(micro_batch=2, shared_prefix=0, reference=reference, manifest=said)


PLAN = plan()


def expected(table: np.ndarray, index: int) -> list[float]:
    """log p of each labelled token, else 0."""
    ids, start = ROWS[index]
    column = [0.0] * len(ids)
    for place in range(start, len(ids)):
        row = table[ids[place - 1]]
        column[place] = row[ids[place]] - float(np.log(np.exp(row).sum()))
    return column


@pytest.fixture
def pairs() -> EncodedSet:
    """Examples of two sequences and of one: those of one example stay together."""
    one = encoded_set().examples
    return EncodedSet((one[0] + one[3], one[1] + one[4], one[2]), (2.0, 2.0, 1.0))


def columns(rows: EncodedSet) -> list[list[float]]:
    return [s.columns["reference"].tolist() for example in rows.examples for s in example]


def test_every_labelled_token_has_its_log_probability(pairs: EncodedSet, tmp_path: Path) -> None:
    model = Adapted(dropout=0.5)
    model.dropout.eval()  # one part is in another mode: it is put back
    rows = {"train": pairs, "validation": encoded_set(), "test": EncodedSet((), ())}
    processes = Processes()
    found = with_reference(rows, forward(model), PLAN, tmp_path / "deep" / "new", processes)
    table = table_of(model)
    for name, order in (("train", (0, 3, 1, 4, 2)), ("validation", range(5))):
        for column, index in zip(columns(found[name]), order, strict=True):
            assert column == pytest.approx(expected(table, index), rel=1e-5, abs=1e-7)
    assert len(found["test"]) == 0
    assert [seen["training"] for seen in model.seen] == [False] * len(model.seen)
    assert not any(seen["gradient"] for seen in model.seen)
    assert (model.training, model.dropout.training) == (True, False)
    assert processes.waits == 2
    # By length, two examples at a time: 4 and 10 tokens beside each other, then 11.
    assert [len(seen["input_ids"]) for seen in model.seen[:2]] == [3, 2]
    assert [path.name for path in (tmp_path / "deep" / "new").iterdir()] == [
        "reference.safetensors"
    ]


def test_the_first_token_has_nothing_before_it(tmp_path: Path) -> None:
    (sequence,) = encoded_set().examples[0]
    text = EncodedSet(((replace(sequence, labels=sequence.input_ids),),), (2.0,))
    model = Adapted()
    found = with_reference({"train": text}, forward(model), PLAN, tmp_path, Processes())
    ((column,),) = [columns(found["train"])]
    assert column[0] == 0.0
    assert all(value < 0 for value in column[1:])


def test_a_training_that_goes_on_reads_what_was_said_first(
    pairs: EncodedSet, tmp_path: Path
) -> None:
    """By then the model has learnt something; a model that is trained whole is its own base."""
    first = with_reference({"train": pairs}, forward(Adapted()), PLAN, tmp_path, Processes())
    other = Adapted(seed=9)
    again = with_reference({"train": pairs}, forward(other), PLAN, tmp_path, Processes())
    assert columns(again["train"]) == columns(first["train"])
    assert other.seen == []


def test_an_objective_that_asks_for_none_gets_none(pairs: EncodedSet, tmp_path: Path) -> None:
    model = Adapted()
    rows = {"train": pairs}
    sft = forward(model, OBJECTIVES["sft"])
    assert with_reference(rows, sft, plan(None), tmp_path, Processes()) == rows
    assert model.seen == []
    assert [*tmp_path.iterdir()] == []


def test_of_several_ranks_one_writes(pairs: EncodedSet, tmp_path: Path) -> None:
    other = Processes(is_main_process=False)
    found = with_reference({"train": pairs}, forward(Adapted()), PLAN, tmp_path, other)
    assert columns(found["train"])
    assert other.waits == 2
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("reference", "apart"), [("start", 0.0), ("base", 5.0)])
def test_policy_and_reference_are_compared_before_the_first_step(
    pairs: EncodedSet, tmp_path: Path, reference: str, apart: float
) -> None:
    """Away from the base by the 5 that the method adds to one logit; from the start by nothing."""
    model = Adapted()
    made, given = forward(model), plan(reference, max_start_distance=9.0)
    rows = with_reference({"train": pairs}, made, given, tmp_path, Processes())["train"]
    found = compare_with_reference(rows, made, given)
    assert (found.reference, found.tokens) == (reference, 15)
    if apart:
        assert 0.1 < found.max_difference < apart
        assert found.mean_difference != 0
        with pytest.raises(Refused, match=r"`base`\) differ by up to [0-9.]+ nats a token, allow"):
            compare_with_reference(rows, made, plan(reference))
    else:
        assert (found.max_difference, found.mean_difference) == (0.0, 0.0)
        assert compare_with_reference(rows, made, plan(reference)) == found


@pytest.mark.parametrize("difference", [2e-5, -2e-5, float("nan")])
def test_a_reference_that_is_another_policy_is_refused(
    pairs: EncodedSet, tmp_path: Path, difference: float
) -> None:
    made, given = forward(Adapted()), plan("start")
    rows = with_reference({"train": pairs}, made, given, tmp_path, Processes())["train"]
    moved = torch.cat([s.columns["reference"] + difference for e in rows.examples for s in e])
    with pytest.raises(Refused, match="before the first step policy and reference"):
        compare_with_reference(rows.with_column("reference", moved), made, given)
