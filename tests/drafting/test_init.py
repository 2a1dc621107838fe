"""`adapters init`: from a file of rows to a manifest that validates and loads the rows it names."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.data.load import load_rows
from adapterworks.builders.data.recipes.bank_tickets import derive
from adapterworks.cli.main import cli
from adapterworks.drafting.look import objective_for
from adapterworks.manifests.load import check_manifest, load_manifest
from tests.drafting.test_columns import rows


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, args, obj=App(), standalone_mode=False)
    error = result.exception
    if code == 0:
        assert error is None, error
    else:
        assert error is not None
        return f"{error} {getattr(error, 'hint', '')}"
    return result.output


def write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, [*records[0]])
        lines.writeheader()
        lines.writerows(records)


def tickets(count: int = 300) -> list[dict[str, Any]]:
    found = [row for part in derive(None).splits.values() for row in part]
    return [
        {"编号": f"T-{i:04d}", "工单": row.meta["term"], "部门": row.answer}
        for i, row in enumerate(found[::4][:count])
    ]


def test_a_table_of_labels_in_chinese(here: Path) -> None:
    write_csv(here / "工单.csv", tickets())
    told = json.loads(run("init", "tickets", "--from", "工单.csv", "--json"))
    assert (told["task"], told["language"], told["guessed"]) == ("labels", "zh", [])
    assert len(told["labels"]) == 11
    assert told["next"][2] == "adapters build tickets --profile quick"
    profiles, faults = check_manifest("tickets")
    assert (profiles, faults) == (("quick",), ())
    manifest = load_manifest("tickets", profile="quick")
    assert manifest.data.train == "../工单.csv"
    assert manifest.adapter.language == ("zh",)
    assert manifest.evaluate.metrics == ("exact_match", "macro_f1")
    assert manifest.train.max_steps == 120
    splits = load_rows(manifest)
    sizes = [len(side) for side in (splits.train, splits.validation, splits.test)]
    assert sum(sizes) == 300
    assert 35 <= sizes[2] <= 85
    assert 8 <= sizes[1] <= 45
    # What is cut off teaches nothing: the longest answer fits, in bytes.
    longest = max(len(label.encode()) for label in told["labels"])
    assert longest + 8 <= manifest.evaluate.max_new_tokens <= longest + 16


def test_what_a_person_reads(here: Path) -> None:
    write_csv(here / "rows.csv", tickets())
    out = run("init", "tickets", "--from", "rows.csv")
    assert "rows.csv: 300 rows, format prompt-completion" in out
    assert "(prompt ← 工单, completion ← 部门)" in out
    assert "wrote manifests/tickets.toml" in out
    assert "adapters try tickets" in out
    text = (here / "manifests" / "tickets.toml").read_text(encoding="utf-8")
    assert "# Written by `adapters init` from rows.csv: 300 rows, one of 11 answers" in text


def test_nobody_is_asked_where_nobody_is_and_yes_takes_the_likeliest(here: Path) -> None:
    records = [
        {"a": f"what is to be said of matter number {i}", "b": f"Something of its own: {i}"}
        for i in range(60)
    ]
    write_csv(here / "rows.csv", records)
    said = run("init", "notes", "--from", "rows.csv", code=2)
    assert "Which column holds what is to be answered? It may be `b`, `a`" in said
    assert "--answer b" in said
    assert not (here / "manifests").exists()
    run("init", "notes", "--from", "rows.csv", "--yes")
    manifest = load_manifest("notes")
    assert manifest.data.columns == {"prompt": "a", "completion": "b"}
    assert manifest.evaluate.metrics == ("chrf", "rouge_l")
    assert manifest.adapter.language == ("en",)
    again = run("init", "notes", "--from", "rows.csv", "--yes", code=4)
    assert "`manifests/notes.toml` is there already" in again
    run("init", "notes", "--from", "rows.csv", "--question", "b", "--answer", "a", "--force")
    assert load_manifest("notes").data.columns == {"prompt": "b", "completion": "a"}


def test_files_beside_it_and_a_column_that_says_the_side(here: Path) -> None:
    write_csv(here / "rows-train.csv", rows("prompt", "completion", count=30))
    write_csv(here / "rows-test.csv", rows("prompt", "completion", count=5))
    run("init", "one", "--from", "rows-train.csv")
    data = load_manifest("one").data
    assert (data.test, data.test_share) == ("../rows-test.csv", 0.0)
    assert (data.validation, data.validation_share) == (None, 0.1)

    sides = ["train"] * 20 + ["test"] * 6 + ["valid"] * 4
    records = rows("prompt", "completion", count=30)
    write_csv(here / "all.csv", [r | {"split": s} for r, s in zip(records, sides, strict=True)])
    run("init", "two", "--from", "all.csv")
    splits = load_rows(load_manifest("two"))
    assert [len(side) for side in (splits.train, splits.validation, splits.test)] == [20, 4, 6]


def test_too_few_rows_and_a_name_that_is_none(here: Path) -> None:
    write_csv(here / "rows.csv", rows("prompt", "completion", count=19))
    assert "has 19 rows" in run("init", "few", "--from", "rows.csv", code=2)
    assert "is not a name" in run("init", "few@2", "--from", "rows.csv", code=2)


@pytest.mark.parametrize("format", ["text", "messages", "preference"])
def test_rows_of_every_kind_give_a_manifest_that_loads(here: Path, format: str) -> None:
    turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "Said so."}]
    kinds: dict[str, dict[str, Any]] = {
        "text": {"text": "A paragraph of prose, as people write it."},
        "messages": {"messages": turns},
        "preference": {"prompt": "Say it.", "chosen": "Said.", "rejected": "No."},
    }
    lines = "\n".join(json.dumps(kinds[format] | {"n": i}) for i in range(40))
    (here / "rows.jsonl").write_text(lines)
    if format == "preference" and objective_for("comparison") is None:
        said = run("init", "kind", "--from", "rows.jsonl", code=2)
        assert "no objective that learns from two is installed" in said
        return
    told = json.loads(run("init", "kind", "--from", "rows.jsonl", "--json"))
    assert check_manifest("kind")[1] == ()
    assert told["format"] == format
