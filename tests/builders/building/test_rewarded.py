"""A training whose answers are judged depends on all that a reward reads of a row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.cli.plan import command as plan
from tests.builders.workshop import Workshop

TABLES = {
    "grpo": '[objective]\nkind = "grpo"\nrewards = ["json_schema"]\nmax_completion = 4\n',
    "sft": "",
}
# The last one has what is told of the sources, their columns included.
STAGES = ("train", "convert", "ask", "evaluate")


def digests(workshop: Workshop, kind: str, types: tuple[str, str]) -> dict[str, Any]:
    """Of a plan whose training and validation rows ask for a value of these types."""
    for split, name in zip(("train", "validation"), types, strict=True):
        path = workshop.folder / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        changed = (json.dumps(row | {"schema": {"type": name}}) + "\n" for row in rows)
        path.write_text("".join(changed))
    made = workshop.invoke(plan, workshop.manifest(more=TABLES[kind]), "--json")
    assert made.exit_code == 0, made.output or made.exception
    found: dict[str, Any] = json.loads(made.stdout)["digests"]
    return found


def test_a_plan_counts_the_longest_sampled_answers_and_not_the_rows_own(
    workshop: Workshop,
) -> None:
    """Those of the rows have a token or two; logits are of what is sampled."""

    def planned(most: int) -> dict[str, Any]:
        table = TABLES["grpo"].replace("max_completion = 4", f"max_completion = {most}")
        table = table.replace("json_schema", "exact_match")
        made = workshop.invoke(plan, workshop.manifest(more=table), "--json")
        assert made.exit_code == 0, made.output or made.exception
        found: dict[str, Any] = json.loads(made.stdout)
        return found

    short, long = planned(4), planned(40)
    assert long["supervised_tokens"] == 10 * short["supervised_tokens"]
    assert long["memory"]["activations"] > short["memory"]["activations"]


@pytest.mark.parametrize("types", [("integer", "string"), ("string", "integer")])
@pytest.mark.parametrize(("kind", "again"), [("grpo", STAGES), ("sft", ())])
def test_a_changed_column_is_another_training_where_rewards_read_it(
    workshop: Workshop, kind: str, again: tuple[str, ...], types: tuple[str, str]
) -> None:
    """Token ids and labels are the same: what the prompt is, and its own answer."""
    before = digests(workshop, kind, ("string", "string"))
    assert digests(workshop, kind, ("string", "string")) == before
    after = digests(workshop, kind, types)
    assert tuple(name for name in STAGES if after[name] != before[name]) == again
