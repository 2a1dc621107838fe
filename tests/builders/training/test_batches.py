"""Which rows a step sees: every one once an epoch, in another order each time; and rows on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.training.batches import (
    EncodedSet,
    epoch_batches,
    load_encoded,
    save_encoded,
)
from tests.builders.training.by_hand import LABELS, ROWS, encoded_set, examples


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize(("rows", "size"), [(40, 4), (41, 4), (3, 8), (1, 1), (200, 3)])
def test_every_row_is_seen_once_in_every_epoch(rows: int, size: int, group: bool) -> None:
    lengths = [1 + index * index % 13 for index in range(rows)]
    for epoch in range(4):
        batches = epoch_batches(lengths, size, group=group, seed=7, epoch=epoch)
        assert sorted(flat(batches)) == [*range(rows)]
        sizes = sorted((len(batch) for batch in batches), reverse=True)
        assert sizes == [size] * (rows // size) + ([rows % size] if rows % size else [])


@pytest.mark.parametrize("group", [False, True])
def test_every_epoch_and_every_seed_has_its_own_order(group: bool) -> None:
    lengths = [1 + index % 5 for index in range(64)]
    orders = {
        tuple(flat(epoch_batches(lengths, 4, group=group, seed=seed, epoch=epoch)))
        for seed in range(4)
        for epoch in range(6)
    }
    assert len(orders) == 24, "seed 0's second epoch is not seed 1's first either"
    again = epoch_batches(lengths, 4, group=group, seed=2, epoch=3)
    assert again == epoch_batches(lengths, 4, group=group, seed=2, epoch=3)


def test_the_order_is_the_generators_permutation() -> None:
    """Releases of equal plans are equal: the order is part of what a training computes."""
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 5)
    expected = torch.randperm(50, generator=generator).tolist()
    assert flat(epoch_batches([1] * 50, 8, group=False, seed=3, epoch=5)) == expected


def test_rows_of_like_length_are_together_within_sixteen_batches() -> None:
    """Of 96 rows in batches of 3 the first 48 of the permutation are sorted, then the other 48."""
    lengths = [100 - index for index in range(96)]
    generator = torch.Generator().manual_seed(1_000_003 * 11)
    order = torch.randperm(96, generator=generator).tolist()
    expected = []
    for bucket in (sorted(order[:48]), sorted(order[48:])):  # a smaller number is a longer row
        expected += [bucket[start : start + 3] for start in range(0, 48, 3)]
    batches = epoch_batches(lengths, 3, group=True, seed=11, epoch=0)
    assert sorted(batches) == sorted(expected)
    # The batches themselves come in an order of their own: not all long ones first.
    assert batches == [expected[i] for i in torch.randperm(32, generator=generator).tolist()]
    assert batches != expected


def test_without_grouping_length_does_not_matter() -> None:
    short, long = [1] * 30, [*range(30)]
    same = [epoch_batches(lengths, 4, group=False, seed=1, epoch=2) for lengths in (short, long)]
    assert same[0] == same[1]


def test_a_row_is_as_long_as_its_sequences_together() -> None:
    rows = encoded_set()
    assert rows.lengths == (3, 6, 4, 8, 4)
    assert rows.counts == LABELS
    assert len(rows) == 5
    pair = EncodedSet((rows.examples[0] + rows.examples[3], rows.examples[1]), (1.0, 1.0))
    assert pair.lengths == (11, 6)
    assert pair.chosen([1, 0]) == [rows.examples[1], rows.examples[0] + rows.examples[3]]


def test_a_further_column_goes_to_the_sequences_in_order() -> None:
    rows = encoded_set()
    pair = EncodedSet((rows.examples[0] + rows.examples[1], rows.examples[2]), (1.0, 2.0))
    numbers = torch.cat([torch.full((n,), float(n)) for n in (3, 6, 4)])
    both = pair.with_column("number", numbers).with_column("other", torch.zeros(13))
    found = [[s.columns["number"].tolist() for s in example] for example in both.examples]
    assert found == [[[3.0] * 3, [6.0] * 6], [[4.0] * 4]]
    assert {*both.examples[0][0].columns} == {"number", "other"}
    assert (both.counts, both.lengths) == (pair.counts, pair.lengths)
    assert pair.examples[0][0].columns == {}, "the set it was made of is as it was"
    last = both.examples[-1]
    assert [s.columns["number"].tolist() for s in last] == [[4.0] * 4]
    with pytest.raises(ValueError, match="a column of 12 values for 13 tokens"):
        pair.with_column("number", torch.zeros(12))


def test_a_further_column_reads_no_example(tmp_path: Path) -> None:
    """The file stays mapped: a preference set of a million rows is not made tensors of."""
    path = tmp_path / "encoded.safetensors"
    save_encoded(path, {"train": examples()})
    rows = load_encoded(path)["train"]
    read: list[int] = []

    class Watched(type(rows.examples)):  # type: ignore[misc]
        def _sequence(self, number: int) -> Any:
            read.append(number)
            return super()._sequence(number)

    rows.examples.__class__ = Watched
    made = rows.with_column("reference", torch.arange(float(sum(rows.lengths))))
    assert read == []
    assert made.examples[2][0].columns["reference"][0] == sum(rows.lengths[:2])
    assert read == [2]


def test_rows_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "encoded.safetensors"
    save_encoded(path, {"train": examples(), "validation": examples(ROWS[:1]), "test": []})
    sets = load_encoded(path)
    assert {name: len(rows) for name, rows in sets.items()} == {
        "train": 5, "validation": 1, "test": 0,
    }  # fmt: skip
    for name, rows in (("train", encoded_set()), ("validation", encoded_set(ROWS[:1]))):
        assert sets[name].counts == rows.counts
        for (given,), (read,) in zip(rows.examples, sets[name].examples, strict=True):
            assert torch.equal(read.input_ids, given.input_ids)
            assert torch.equal(read.labels, given.labels)
            assert (read.columns, read.values) == ({}, {})


@pytest.mark.parametrize("key", ["columns", "values"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_some_rows_lack_is_not_dropped(tmp_path: Path, key: str, first: int) -> None:
    """Whichever row comes first."""
    more: dict[str, Any] = {"columns": {"a": [1.0, 2.0]}, "values": {"a": 1.0}}
    one = Encoded([1, 2], [-100, 2], 0)
    both = [one, replace(one, row=1, **{key: more[key]})]
    rows = [Example((both[first],), 1.0), Example((both[1 - first],), 1.0)]
    with pytest.raises(ValueError, match=r"columns and values of row \d of `train` are"):
        save_encoded(tmp_path / "encoded.safetensors", {"train": rows})


def test_columns_values_and_fractions_come_back_too(tmp_path: Path) -> None:
    def sequence(length: int) -> Encoded:
        columns = {"a": [0.5 * length + place for place in range(length)], "b": [1.0] * length}
        values = {"m": length + 0.25, "n": -1.0}
        return Encoded([*range(length)], [-100] * length, 0, columns=columns, values=values)

    pairs = [Example((sequence(3), sequence(5)), 0.1), Example((sequence(2), sequence(4)), 1e-9)]
    path = tmp_path / "encoded.safetensors"
    save_encoded(path, {"train": pairs})
    train = load_encoded(path)["train"]
    assert train.counts == (0.1, 1e-9), "counts are sums of weights: not rounded to float32"
    for pair, read in zip(pairs, train.examples, strict=True):
        for given, found in zip(pair.sequences, read, strict=True):
            assert {n: c.tolist() for n, c in found.columns.items()} == given.columns
            assert found.values == given.values
    assert load_file(path)["train.input_ids"].dtype == torch.int32, "half the file"
