"""A plan says when most rows' own answers are longer than what may be sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.rows import chat
from adapterworks.builders.objectives.reach import reach_lints
from tests.builders.build_support import manifest_for

TABLE: dict[str, Any] = {"kind": "grpo", "rewards": ["exact_match"]}


@pytest.mark.parametrize(
    ("most", "long"),
    [(8, 0), (7, 2), (3, 2), (1, 10)],  # `A`: one token and the end; of the long ones seven
)
def test_answers_that_no_sample_can_be_are_counted(tiny: Path, most: int, long: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert [
        len(ids) for ids in tokenizer(["A", "AAAAAAA"], add_special_tokens=False).input_ids
    ] == [
        1,
        7,
    ]
    rows = [chat(f"case {n}", "AAAAAAA" if n < 2 else "A") for n in range(10)]
    manifest = manifest_for("lora", objective={**TABLE, "max_completion": most})
    found = reach_lints(manifest, tokenizer, rows)
    assert [lint.key for lint in found] == ["objective.max_completion"] * bool(long)
    assert all(f"{long} of 10 rows have more than {most} tokens" in lint.message for lint in found)


def test_a_tenth_of_them_and_what_samples_nothing_is_usual(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [chat(f"case {n}", "AAAAAAA" if n < 1 else "A") for n in range(10)]
    assert (
        reach_lints(manifest_for("lora", objective={**TABLE, "max_completion": 4}), tokenizer, rows)
        == []
    )
    assert reach_lints(manifest_for("lora"), tokenizer, rows[:1]) == []
