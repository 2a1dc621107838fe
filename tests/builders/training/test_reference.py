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
from adapterworks.builders.training.reference import with_reference
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


PLAN: Any = SimpleNamespace(micro_batch=2)


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
    assert with_reference(rows, sft, PLAN, tmp_path, Processes()) == rows
    assert model.seen == []
    assert [*tmp_path.iterdir()] == []


def test_of_several_ranks_one_writes(pairs: EncodedSet, tmp_path: Path) -> None:
    other = Processes(is_main_process=False)
    found = with_reference({"train": pairs}, forward(Adapted()), PLAN, tmp_path, other)
    assert columns(found["train"])
    assert other.waits == 2
    assert [*tmp_path.iterdir()] == []
