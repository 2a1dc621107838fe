"""Which rows go into one sequence: all of them once, and as few sequences as TRL needs."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import largest
from adapterworks.builders.plan.load import Load
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.packing import best_fit, in_packs
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.manifests.errors import InvalidInput
from tests.builders.build_support import ENVIRONMENT, identity, manifest_for
from tests.builders.plan.small import SMALL


def lengths(seed: int, count: int = 200, most: int = 64) -> list[int]:
    drawn = random.Random(seed)
    return [min(most, 1 + int(drawn.expovariate(0.08))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_every_row_is_in_one_sequence_and_none_is_longer_than_it_may_be(seed: int) -> None:
    given = lengths(seed)
    packs = best_fit(given, 64)
    assert sorted(row for pack in packs for row in pack) == [*range(200)]
    assert max(sum(given[row] for row in pack) for pack in packs) <= 64
    assert len(packs) <= -(-sum(given) // 64) * 11 / 9 + 1


@pytest.mark.parametrize("seed", range(3))
def test_the_sequences_are_those_of_trl(seed: int) -> None:
    from datasets import Dataset
    from trl import pack_dataset

    given = lengths(seed)
    rows = {"input_ids": [[number] * length for number, length in enumerate(given)]}
    theirs = pack_dataset(Dataset.from_dict(rows), seq_length=64, strategy="bfd")
    packs = best_fit(given, 64)
    sizes = [[given[row] for row in pack] for pack in packs]
    # Of equal lengths any may be taken; which lengths go together is the same.
    assert sizes == [list(row) for row in theirs["seq_lengths"]]


def test_the_least_room_that_holds_a_row_is_taken() -> None:
    assert best_fit([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]
    assert best_fit([7, 6, 3], 10) == [[0, 2], [1]]
    assert best_fit([10, 1], 10) == [[0], [1]]
    assert best_fit([], 10) == []
    with pytest.raises(ValueError, match="a row of 11 tokens does not fit into 10"):
        best_fit([11], 10)


def facts(given: tuple[int, ...], **more: Any) -> DataFacts:
    rows = {"train": len(given), "validation": 0, "test": 0}
    digests = dict.fromkeys(rows, "sha256:1")
    return DataFacts(rows, digests, given, tuple(2 for _ in given), **more)


GIVEN = (40, 30, 24, 20, 10, 4, 64, 64)  # 40 + 24, 30 + 20 + 10 + 4, 64, 64


def plan(kind: str = "lora", data: DataFacts | None = None, **train: Any) -> Plan:
    keys = {"batch_size": 2, "packing": True, "packing_strategy": "bfd", **train}
    method = {"rank": 2} if kind == "lora" else {}
    machine = Machine("cpu", "test", 16 << 30, "fp32", 2)
    return make_plan(
        manifest_for(kind, method=method, **keys),
        identity(kind),
        SMALL,
        machine,
        data or facts(GIVEN),
        ENVIRONMENT,
    )


def test_a_plan_counts_sequences_where_it_counted_rows() -> None:
    found = plan(epochs=3.0)
    assert (found.steps_per_epoch, found.steps, found.packed_to) == (2, 6, 64)
    assert found.tokens == 3 * sum(GIVEN)
    assert found.supervised_tokens == 3 * 2 * len(GIVEN)
    assert found.rows["train"] == 8
    rows = plan(packing_strategy="micro_batch", epochs=3.0)
    assert (rows.steps_per_epoch, rows.packed_to) == (4, None)
    # Positions are those of a row in its sequence, not of the sequence.
    assert plan(data=facts((60, 60), longest=60), max_length=120).longest == 60


def test_the_length_that_is_filled_is_part_of_what_is_trained() -> None:
    data = replace(facts((20, 20, 20, 20)), encoded={"train": "sha256:2"})
    one, other = (plan(data=data, max_length=length).digests.train for length in (64, 80))
    assert one != other
    apart = {
        plan(data=data, max_length=length, packing_strategy="micro_batch").digests.train
        for length in (64, 80)
    }
    assert len(apart) == 1
    assert one not in apart


def test_sequences_stand_side_by_side_each_with_a_mask() -> None:
    packed = in_packs(facts(GIVEN), 64)
    assert packed.lengths == (64, 64, 64, 64)
    assert packed.supervised == (2, 2, 4, 8)
    assert packed.longest == 64
    uneven = in_packs(facts((60, 50, 5)), 64)
    load = largest(uneven, 2, shared=0, packed=True, ahead=True)
    assert load == Load(2, 2 * 60, 2 + 4, 1, mask=60, masks=2)


def test_a_base_that_mixes_neighbours_is_refused_as_for_any_packing() -> None:
    with pytest.raises(InvalidInput, match="only the first packed row would see"):
        plan("prompt-tuning")
