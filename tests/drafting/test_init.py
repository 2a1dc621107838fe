"""`adapters init`: from a file of rows to a manifest that validates and loads the rows it names."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.data.load import load_rows
from adapterworks.builders.data.recipes.bank_tickets import derive
from adapterworks.cli import printing
from adapterworks.cli.main import cli
from adapterworks.drafting.look import objective_for
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import check_manifest, load_manifest
from adapterworks.manifests.paths import base_model
from adapterworks.registry.bases.base import Base
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


def test_what_is_asked_of_pairs_is_what_they_teach(here: Path) -> None:
    """By how much the better answer is the likelier one, not whether an answer has its words; of
    answers that are good or bad by themselves nothing is asked."""
    pair = {"prompt": "Say it.", "chosen": "Said.", "rejected": "No."}
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "comparison": (pair, pair),
        "judged": (
            {"prompt": "Say it.", "completion": "Said.", "label": True},
            {"prompt": "Say it.", "completion": "No.", "label": False},
        ),
    }
    found = {}
    for task, records in kinds.items():
        lines = "\n".join(json.dumps(records[i % 2] | {"n": i}) for i in range(40))
        (here / f"{task}.jsonl").write_text(lines)
        told = json.loads(run("init", task, "--from", f"{task}.jsonl", "--json"))
        assert told["task"] == task
        evaluate = load_manifest(task).evaluate
        gates = [(gate.kind, gate.metric, gate.against, gate.min_gain) for gate in evaluate.gates]
        found[task] = evaluate.metrics, gates
    assert found == {
        "comparison": (
            ("preference_margin", "preference_accuracy"),
            [("gain", "preference_margin", "base", 0.0)],
        ),
        "judged": (("chrf", "rouge_l"), []),
    }


def split_rows(here: Path, name: str = "split.csv", column: str = "split") -> None:
    sides = ["train"] * 20 + ["test"] * 6 + ["valid"] * 4
    records = rows("prompt", "completion", count=30)
    write_csv(here / name, [r | {column: s} for r, s in zip(records, sides, strict=True)])


def test_nothing_of_the_users_is_written_over_without_force(here: Path) -> None:
    split_rows(here)
    (here / "manifests").mkdir()
    (here / "manifests" / "sp-validation.jsonl").write_text("PRECIOUS")
    said = run("init", "sp", "--from", "split.csv", "--yes", code=4)
    assert "`manifests/sp-validation.jsonl` is there already" in said
    assert [path.name for path in (here / "manifests").iterdir()] == ["sp-validation.jsonl"]
    assert (here / "manifests" / "sp-validation.jsonl").read_text() == "PRECIOUS"
    run("init", "sp", "--from", "split.csv", "--yes", "--force")
    assert len(load_rows(load_manifest("sp")).validation) == 4


def test_the_rows_themselves_are_never_written_over(here: Path) -> None:
    (here / "manifests").mkdir()
    source = here / "manifests" / "own-train.jsonl"
    records = rows("prompt", "completion", count=40)
    lines = [json.dumps(r | {"split": "test" if i % 5 else "train"}) for i, r in enumerate(records)]
    source.write_text("\n".join(lines))
    (here / "link.jsonl").symlink_to(source)
    for path in ("manifests/own-train.jsonl", "link.jsonl"):
        for force in ((), ("--force",)):
            said = run("init", "own", "--from", path, "--yes", *force, code=2)
            assert "is the file of the rows itself" in said
    assert source.read_text() == "\n".join(lines)
    assert not (here / "manifests" / "own.toml").exists()


def test_a_column_of_sides_in_capitals_holds_rows_out(here: Path) -> None:
    split_rows(here, column="Split")
    run("init", "two", "--from", "split.csv", "--yes")
    splits = load_rows(load_manifest("two"))
    assert [len(side) for side in (splits.train, splits.validation, splits.test)] == [20, 4, 6]


def test_a_table_of_a_spreadsheet_where_the_comma_is_a_decimal_mark(here: Path) -> None:
    lines = [f'"Was kostet {i},50?";{i % 3}' for i in range(40)]
    text = "Frage;Antwort\r\n" + "\r\n".join(lines)
    (here / "ROWS.CSV").write_bytes(text.replace("Frage", "question").encode("utf-8-sig"))
    told = json.loads(run("init", "kosten", "--from", "ROWS.CSV", "--answer", "Antwort", "--json"))
    assert told["columns"] == {"prompt": "question", "completion": "Antwort"}
    assert told["labels"] == ["0", "1", "2"]
    loaded = load_rows(load_manifest("kosten")).train
    assert "," in loaded[0].question


def test_records_of_different_keys(here: Path) -> None:
    records = [
        {"frage": f"was ist Sache {i}", "antwort": f"Amt {i % 4} im Haus"} for i in range(60)
    ]
    lines = [
        json.dumps(r | ({"notiz": f"siehe Akte {i}"} if i % 2 else {}))
        for i, r in enumerate(records)
    ]
    (here / "rows.jsonl").write_text("\n".join(lines))
    run("init", "akten", "--from", "rows.jsonl", "--yes")
    assert check_manifest("akten")[1] == ()


def test_answers_marked_as_wrong_get_an_objective_that_learns_from_them(here: Path) -> None:
    records = [
        {"prompt": f"what of {i}", "completion": f"this {i % 3}", "label": str(i % 2 == 0)}
        for i in range(60)
    ]
    write_csv(here / "rows.csv", records)
    told = json.loads(run("init", "judged", "--from", "rows.csv", "--json"))
    assert (told["format"], told["task"]) == ("unpaired-preference", "judged")
    manifest = load_manifest("judged", profile="quick")
    assert manifest.objective.kind == objective_for("judged")
    assert {row.scores for row in load_rows(manifest).train} == {(0.0,), (1.0,)}


def test_rows_without_an_answer_are_no_label_and_are_told_of(here: Path) -> None:
    records = [
        {"prompt": f"what of {i}", "completion": ("", "cards", "loans")[i % 3]} for i in range(60)
    ]
    write_csv(here / "rows.csv", records)
    out = run("init", "gaps", "--from", "rows.csv")
    assert "2 different answers: cards, loans" in out
    assert "20 of 60 rows have no answer: `adapters build` refuses them" in out
    assert (
        json.loads(run("init", "gaps", "--from", "rows.csv", "--force", "--json"))["without_answer"]
        == 20
    )


def test_what_is_said_next_names_this_manifest_and_this_adapter(here: Path) -> None:
    write_csv(here / "rows.csv", tickets(60))
    told = json.loads(
        run("init", "f2", "--from", "rows.csv", "--to", "my dir/other.toml", "--json")
    )
    assert told["next"] == [
        "adapters data inspect 'my dir/other.toml'",
        "adapters try 'my dir/other.toml'",
        "adapters build 'my dir/other.toml' --profile quick",
        "adapters serve --open",
        'adapters chat f2:candidate "…"',
    ]
    text = (here / "my dir" / "other.toml").read_text(encoding="utf-8")
    assert "`adapters validate 'my dir/other.toml'`" in text
    assert "`adapters build 'my dir/other.toml' --profile quick`" in text
    assert check_manifest("my dir/other.toml")[1] == ()


def test_what_cannot_be_is_said_before_anything_is_written(here: Path) -> None:
    write_csv(here / "rows.csv", tickets(60))
    init = ("init", "f2", "--from", "rows.csv")
    for name in ("foo.txt", "foo"):
        assert f"`--to`: `{name}` ends in none of .toml" in run(*init, "--to", name, code=2)
    assert "no base `nope`" in run(*init, "--base", "nope", code=3)
    assert "is not pinned" in run(*init, "--base", "hub:org/x@main", code=2)
    assert [path.name for path in here.iterdir()] == ["rows.csv"]


def test_a_base_in_a_folder_is_named_from_the_manifests(here: Path, base: Base) -> None:
    write_csv(here / "rows.csv", tickets(60))
    (here / "model").symlink_to(base.checkpoint)
    run("init", "f2", "--from", "rows.csv", "--base", "./model", "--quantization", "none")
    manifest = load_manifest("f2")
    assert base_model(manifest) == str(base.checkpoint.resolve())


def test_columns_that_somebody_names_are_read_in_the_format_that_they_name(here: Path) -> None:
    write_csv(here / "rows.csv", rows("Q", "A", count=30))
    run(
        "init",
        "f2",
        "--from",
        "rows.csv",
        "--format",
        "instruction",
        "--question",
        "Q",
        "--answer",
        "A",
    )
    data = load_manifest("f2").data
    assert (data.format, data.columns) == ("instruction", {"instruction": "Q", "output": "A"})
    assert load_rows(load_manifest("f2")).train[0].answer.startswith("A text")


def test_a_name_with_a_character_that_this_python_does_not_know(here: Path) -> None:
    write_csv(here / "rows.csv", rows("问题 \U0001fae8", "completion \x7f", count=30))
    options = ("--question", "问题 \U0001fae8", "--answer", "completion \x7f")
    run("init", "shaken", "--from", "rows.csv", *options)
    assert load_manifest("shaken").data.columns["prompt"] == "问题 \U0001fae8"
    assert len(load_rows(load_manifest("shaken")).train) > 10


def test_at_a_terminal_each_doubt_is_asked_for_in_its_turn(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"ticket": f"the mouse {i} is gone", "number": f"{i % 3}"} for i in range(40)]
    write_csv(here / "rows.csv", records)
    said = run("init", "mice", "--from", "rows.csv", code=2)
    assert "say `--format text`" in said
    monkeypatch.setattr("adapterworks.cli.printing.is_asked", lambda: True)
    asked = CliRunner().invoke(cli, ["init", "mice", "--from", "rows.csv"], input="text\n")
    assert "is it learnt whole, or does another answer it?" in asked.output
    assert load_manifest("mice").data.format == "text"


def test_closed_standard_input_is_nobody_to_ask(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not printing.is_asked()
    with pytest.raises(InvalidInput, match="is closed"):
        printing.standard_input()


def test_quiet_says_no_guesses(here: Path) -> None:
    records = [{"ticket": f"the mouse {i} is gone", "number": f"{i % 3}"} for i in range(40)]
    write_csv(here / "rows.csv", records)
    loud = CliRunner().invoke(cli, ["init", "mice", "--from", "rows.csv", "--yes"])
    assert "guessed: format is `text`" in loud.stderr
    quiet = CliRunner().invoke(cli, ["-q", "init", "rats", "--from", "rows.csv", "--yes"])
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_nothing_is_written_among_the_built_in_manifests(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout `manifests/` is the folder of those; `--to` is a maintainer's way to it."""
    write_csv(here / "rows.csv", tickets(60))
    root = Path(__file__).resolve().parents[2]
    before = sorted((root / "manifests").iterdir())
    monkeypatch.chdir(root)
    for force in ((), ("--force",)):
        said = run("init", "medical", "--from", str(here / "rows.csv"), *force, code=2)
        assert "is the folder of the built-in manifests" in said
        assert "work in a folder of your own" in said
    said = run("import", "openai", "--files", str(here), code=2)
    assert "is the folder of the built-in manifests" in said
    assert sorted((root / "manifests").iterdir()) == before


def test_sheets_that_are_not_read_are_named(here: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "January"
    for row in (["question", "answer"], *([f"what of {i}?", f"this of {i}"] for i in range(30))):
        book.active.append(row)
    book.create_sheet("February").append(["question", "answer"])
    book.save(here / "rows.xlsx")
    out = CliRunner().invoke(cli, ["init", "faq", "--from", "rows.xlsx"])
    assert "only the first sheet, `January`, is read" in out.stderr
    assert "what is on `February` is not" in out.stderr
    told = json.loads(run("init", "faq", "--from", "rows.xlsx", "--force", "--json"))
    assert told["sheets_not_read"] == ["February"]
