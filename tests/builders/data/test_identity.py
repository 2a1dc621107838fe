"""Digests of what is learnt and of what is asked: every value counts, no place does."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.data.identity import asked_digest, encoded_digest
from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import IGNORED, Encoded
from adapterworks.builders.data.rows import chat

ONE = Encoded([1, 2, 3], [IGNORED, 2, 3], columns={"weights": [1.0, 0.5, 1.0]}, values={"m": 2.0})
OTHER = Encoded([4, 5], [IGNORED, 5])


@pytest.mark.parametrize(
    "change",
    [
        {"input_ids": [1, 2, 4]},
        {"labels": [IGNORED, IGNORED, 3]},
        {"columns": {"weights": [1.0, 0.25, 1.0]}},
        {"columns": {"reference": [1.0, 0.5, 1.0]}},
        {"columns": {}},
        {"values": {"m": 3.0}},
        {"values": {"n": 2.0}},
        {"values": {}},
    ],
)
def test_all_that_is_learnt_counts(change: dict[str, Any]) -> None:
    assert encoded_digest([replace(ONE, **change), OTHER]) != encoded_digest([ONE, OTHER])


def test_order_counts_and_where_a_sequence_came_from_does_not() -> None:
    assert encoded_digest([ONE, OTHER]) != encoded_digest([OTHER, ONE])
    assert encoded_digest([ONE, OTHER]) != encoded_digest([ONE])
    assert encoded_digest([replace(ONE, row=9, cut=4)]) == encoded_digest([ONE])
    two = replace(ONE, columns={"a": [0.0], "b": [1.0]}, values={"x": 1.0, "y": 2.0})
    same = replace(ONE, columns={"b": [1.0], "a": [0.0]}, values={"y": 2.0, "x": 1.0})
    assert encoded_digest([two]) == encoded_digest([same])


def test_sequences_do_not_run_into_each_other() -> None:
    """Without lengths, these two would be the same bytes."""
    apart = [Encoded([1, 2], [1, 2]), Encoded([3], [3])]
    together = [Encoded([1], [2]), Encoded([1, 2], [3, 3])]
    assert encoded_digest(apart) != encoded_digest(together)


def test_the_digest_is_of_lengths_ids_and_labels_in_eight_bytes_each() -> None:
    data = (2).to_bytes(8, "little") + array("q", [4, 5]).tobytes()
    data += array("q", [IGNORED, 5]).tobytes()
    assert encoded_digest([OTHER]) == "sha256:" + hashlib.sha256(data).hexdigest()


def test_what_metrics_read_of_a_test_row_counts_and_its_place_does_not() -> None:
    row = chat("q", "a", code="R50", source="a.jsonl", row=1)
    before = asked_digest([row])
    assert asked_digest([row.with_meta(source="b.jsonl", row=2)]) == before
    assert asked_digest([row.with_meta(code="R51")]) != before
    assert asked_digest([row.with_meta(slices=["x"])]) != before
    assert asked_digest([chat("q", "b", **row.meta)]) != before
    assert asked_digest([row, chat("r", "a")]) != asked_digest([chat("r", "a"), row])
    assert asked_digest([chat("q", "a", b=1, a=2)]) == asked_digest([chat("q", "a", a=2, b=1)])
    assert asked_digest([chat("q", "a", name="甲")]) != asked_digest([chat("q", "a", name="乙")])


IGN = IGNORED


@pytest.mark.parametrize(
    ("ids", "labels", "expected"),
    [
        # Rows part at position 2.
        ([[1, 2, 3, 4], [1, 2, 5, 6]], [[IGN, IGN, IGN, 4], [IGN, IGN, IGN, 6]], 2),
        # They never part, but position 2 predicts the first label and is each row's own.
        ([[1, 2, 3, 4], [1, 2, 3, 5]], [[IGN, IGN, IGN, 4], [IGN, IGN, IGN, 5]], 2),
        # The second row is learnt one token earlier than the first.
        ([[1, 2, 3, 4], [1, 2, 3, 4]], [[IGN, IGN, IGN, 4], [IGN, IGN, 3, 4]], 1),
        ([[1, 2, 3, 4], [1, 2, 3, 4]], [[IGN, IGN, 3, 4], [IGN, IGN, IGN, 4]], 1),
        # What is learnt from its first or second token shares nothing.
        ([[1, 2], [1, 2]], [[1, 2], [1, 2]], 0),
        ([[1, 2, 3], [1, 2, 3]], [[IGN, 2, 3], [IGN, 2, 3]], 0),
        # Without any label a row keeps one token of its own.
        ([[1, 2, 3], [1, 2, 3]], [[IGN] * 3, [IGN] * 3], 2),
        ([[1, 2], [1, 2, 3, 4]], [[IGN] * 2, [IGN] * 4], 1),
        # A third row shares less than the first two do.
        ([[1, 2, 3, 9], [1, 2, 3, 9], [1, 7, 3, 9]], [[IGN] * 3 + [9]] * 3, 1),
        ([[1, 2, 3, 9]], [[IGN] * 3 + [9]], 2),
        ([], [], 0),
    ],
)
def test_what_rows_begin_with_in_common(
    ids: list[list[int]], labels: list[list[int]], expected: int
) -> None:
    assert common_prefix(ids, labels) == expected
