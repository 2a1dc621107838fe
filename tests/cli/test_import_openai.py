"""`adapters import openai`: an exported folder becomes manifests that validate, key by key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.graders import Multi, StringCheck
from adapterworks.manifests.importing.openai import name_of, nearest_base
from adapterworks.manifests.load import load_manifest

MODEL = "gpt-4o-mini-2024-07-18"
CHAT = {
    "messages": [
        {"role": "user", "content": "Fever"},
        {"role": "assistant", "content": "R50", "weight": 1},
    ]
}
PAIR = {
    "input": {"messages": [{"role": "user", "content": "Fever"}]},
    "preferred_output": [{"role": "assistant", "content": "R50"}],
    "non_preferred_output": [{"role": "assistant", "content": "It may be R50."}],
}
PROMPT = {"messages": [{"role": "user", "content": "Fever"}], "note": "n", "reference": "R50"}
RIGHT = {
    "type": "string_check",
    "name": "is it right?",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{ item.reference }}",
}


def job(number: int, hyperparameters: Any = None, **changes: Any) -> dict[str, Any]:
    """What `client.fine_tuning.jobs.retrieve` prints of a supervised job that has ended."""
    given = hyperparameters or {
        "n_epochs": 3,
        "batch_size": 8,
        "learning_rate_multiplier": 1.8,
    }
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{number}",
        "model": MODEL,
        "created_at": 1_700_000_000 + number,
        "finished_at": 1_700_000_900 + number,
        "fine_tuned_model": f"ft:{MODEL}:acme:support:{number}",
        "organization_id": "org-1",
        "result_files": ["file-results"],
        "status": "succeeded",
        "validation_file": None,
        "training_file": "file-chat",
        "hyperparameters": given,
        "trained_tokens": 5768,
        "error": {},
        "user_provided_suffix": "support",
        "seed": 42,
        "estimated_finish": None,
        "integrations": [],
        "metadata": None,
        "usage_metrics": None,
        "shared_with_openai": False,
        "method": {"type": "supervised", "supervised": {"hyperparameters": given}},
        **changes,
    }


def of(kind: str, hyperparameters: dict[str, Any] | None = None, **table: Any) -> dict[str, Any]:
    return {
        "hyperparameters": {},
        "method": {"type": kind, kind: {**table, "hyperparameters": hyperparameters}},
    }


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of rows without a job, beside the working directory."""
    folder = tmp_path / "export"
    folder.mkdir()
    for name, row in (("file-chat", CHAT), ("file-pairs", PAIR), ("file-prompts", PROMPT)):
        (folder / f"{name}.jsonl").write_text(f"{json.dumps(row)}\n" * 30)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    return folder


def save(export: Path, *jobs: dict[str, Any]) -> None:
    (export / "jobs.json").write_text(json.dumps({"object": "list", "data": jobs}))


def run(export: Path, *more: str) -> str:
    words = ["import", "openai", "--files", str(export), *more]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def notes(export: Path, *more: str) -> dict[str, Any]:
    """The notes of the one job, by key."""
    words = ["import", "openai", "--files", str(export), "--json", "--dry-run", *more]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    (one,) = json.loads(result.output)["jobs"]
    return {note["key"]: note for note in one["notes"]}


def test_each_job_becomes_a_manifest_that_is_valid(export: Path) -> None:
    auto = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
    grader = {"type": "multi", "name": "m", "graders": {"right": RIGHT}}
    save(
        export,
        job(
            3,
            training_file="file-prompts",
            validation_file="file-prompts",
            **of(
                "reinforcement",
                {"compute_multiplier": 2.0, "eval_interval": 5, "reasoning_effort": "low"},
                grader={**grader, "calculate_output": "2 * right"},
            ),
        ),
        job(1),
        job(
            2,
            model=f"ft:{MODEL}:acme:support:1",
            user_provided_suffix="Polite Answers",
            training_file="file-pairs",
            **of("dpo", {**auto, "beta": 0.2}),
        ),
    )
    said = run(export)
    first, second, third = (
        load_manifest(f"manifests/{name}.toml")
        for name in ("support", "polite-answers", "support-2")
    )
    assert "next: adapters plan manifests/support.toml" in said
    assert (first.train.epochs, first.train.batch_size, first.train.seed) == (3.0, 8, 42)
    assert first.train.learning_rate == pytest.approx(1.8 * 2e-4)
    assert (first.data.train, first.data.format) == ("../../export/file-chat.jsonl", "messages")
    assert (second.data.format, second.objective.kind) == ("openai-preference", "dpo")
    assert (second.start.ref if second.start else None) == "support@1"
    table: Any = second.objective
    assert table.beta == 0.2
    assert second.train.learning_rate is None  # left to the plan, as the others that are `auto`
    assert "no effect, it is left to the plan: hyperparameters.n_epochs (polite-answers)" in said
    table = third.objective
    assert (table.kind, table.generations, table.graders[0].name) == ("grpo", 16, "m")
    # What the grader reads is the row's own answer here, and no column beside it.
    assert table.graders[0].graders["right"].reference == "{{item.answer}}"
    assert third.data.columns == {"prompt": "messages", "completion": "reference"}
    assert third.data.test == third.data.validation == "../../export/file-prompts.jsonl"


def test_what_asks_a_model_and_what_runs_code_are_graders_here(export: Path) -> None:
    """As OpenAI's client sends them: turns with typed contents, an image of OpenAI's."""
    turn = {"type": "input_text", "text": "{{item.reference}} {{sample.output_text}}"}
    scored = {"type": "score_model", "name": "how good?", "model": "gpt-4.1-mini"}
    scored |= {"input": [{"role": "user", "content": turn}], "range": [0, 10]}
    code = "def grade(sample, item):\n    return len(sample['output_text'])"
    ran = {"type": "python", "name": "p", "source": code, "image_tag": "2025-05-08"}
    multi = {"type": "multi", "name": "m", "graders": {"good": scored, "long": ran}}
    grader = {**multi, "calculate_output": "good - 0.1 * long"}
    save(export, job(1, training_file="file-prompts", **of("reinforcement", grader=grader)))
    run(export)
    table: Any = load_manifest("manifests/support.toml").objective
    good, long = (table.graders[0].graders[name] for name in ("good", "long"))
    assert (good.input[0].content, good.range) == (
        "{{item.answer}} {{sample.output_text}}",
        (0, 10),
    )
    assert long.source == code
    assert (table.judge.endpoint, table.judge.kind) == (
        "https://api.openai.com/v1#gpt-4.1-mini",
        "graders",
    )


def test_a_job_that_told_wandb_tells_it_again_under_the_same_names(export: Path) -> None:
    wandb = {"project": "support", "name": "third", "entity": "acme", "tags": ["a"]}
    several = [{"type": "wandb", "wandb": wandb}]
    save(export, job(1, integrations=several))
    run(export)
    (table,) = load_manifest("manifests/support.toml").train.tracking
    assert (table.tracker, table.project, table.run) == ("wandb", "support", "third")
    assert (table.entity, table.tags) == ("acme", ("a",))
    assert notes(export)["integrations"]["outcome"] == "differs"


def test_every_key_has_a_note_and_none_is_dropped(export: Path) -> None:
    save(export, job(1))
    found = notes(export)
    given = job(1)
    expected = {key for key in given if key not in ("method", "hyperparameters")}
    expected |= {f"hyperparameters.{name}" for name in given["hyperparameters"]}
    assert expected | {"method.type"} <= found.keys()
    assert found["model"]["outcome"] == "differs"
    assert not Path("manifests").exists()  # a dry run writes nothing


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"training_file": "file-none"}, "training_file", "not in the folder"),
        ({"validation_file": "file-none"}, "validation_file", "not in the folder"),
        ({"training_file": "file-pairs"}, "training_file", "does not learn from its paired rows"),
        ({"colour": "red"}, "colour", "no key of OpenAI's jobs"),
        ({"hyperparameters": {"temperature": 1}}, "hyperparameters.temperature", "no key"),
        (of("supervised", {"n_epochs": 10**400}), "hyperparameters.n_epochs", "whole number"),
        (of("supervised", {"batch_size": True}), "hyperparameters.batch_size", "whole number"),
        (of("supervised", {"learning_rate_multiplier": -1}),
         "hyperparameters.learning_rate_multiplier", "number above 0"),
        ({"seed": "x"}, "seed", "whole number"),
        ({"method": {"type": "magic"}}, "method.type", "`magic` is not there"),
        ({"integrations": [{"type": "other"}]}, "integrations", "wandb"),
        ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations", "with a project"),
        ({"training_file": "file-prompts", **of("reinforcement")}, "method.grader", "worth"),
        ({"training_file": "file-prompts",
          **of("reinforcement", grader={"type": "python", "name": "p", "source": ""})},
         "method.grader", "defines no `grade(sample, item)`"),
        ({"training_file": "file-prompts",
          **of("reinforcement", grader={"type": "label_model", "name": "l", "labels": ["a"]})},
         "method.grader", "asks a model for a label"),
        ({"training_file": "file-prompts",
          **of("reinforcement", grader={**RIGHT, "reference": "{{item.a.b}}"})},
         "method.grader", "item.COLUMN"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_key(
    export: Path, changes: dict[str, Any], key: str, words: str
) -> None:
    save(export, job(1, **changes))
    with pytest.raises(Refused, match=re.escape(key)):
        run(export)
    assert not list(Path().rglob("*.toml"))
    found = notes(export)[key]
    assert found["outcome"] == "refused"
    assert words in found["why"]


def test_the_others_are_written_and_a_key_can_be_left_out(export: Path) -> None:
    save(export, job(1), job(2, user_provided_suffix="odd", colour="red"))
    with pytest.raises(Refused, match="1 of 2 jobs have no manifest:\n  ftjob-2: colour red"):
        run(export)
    assert [path.name for path in Path("manifests").iterdir()] == ["support.toml"]
    with pytest.raises(InvalidInput, match="exists already"):
        run(export, "--leave-out", "colour")
    assert not Path("manifests/odd.toml").exists()  # all of them or none
    run(export, "--leave-out", "colour", "--out", "others")
    assert "# Left out: colour." in Path("others/odd.toml").read_text()
    with pytest.raises(InvalidInput, match="no job has a key `shape`"):
        run(export, "--leave-out", "shape", "--out", "third")


def test_rows_that_cannot_be_used_are_named_with_their_lines(export: Path) -> None:
    (export / "file-chat.jsonl").write_bytes(
        json.dumps(CHAT).encode() + b'\n{"messages": "\xff"}\n'
    )
    save(export, job(1))
    with pytest.raises(Refused, match="line 2: is not JSON: it has bytes that are no UTF-8"):
        run(export)


def test_files_are_found_by_the_names_that_a_listing_gives(export: Path) -> None:
    (export / "file-chat.jsonl").rename(export / "tickets.jsonl")
    listing = [{"object": "file", "id": "file-chat", "filename": "tickets.jsonl"}]
    (export / "files.json").write_text(json.dumps({"object": "list", "data": listing}))
    # As a loop over the jobs prints them: one object after the other.
    (export / "jobs.json").write_text("\n".join(json.dumps(job(1), indent=2) for _ in range(2)))
    run(export)
    assert load_manifest("manifests/support.toml").data.train == "../../export/tickets.jsonl"


def test_what_belongs_to_no_job_is_named(export: Path) -> None:
    (export / "broken.json").write_bytes(b"\xff")
    (export / "half.json").write_text('{"object": "fine_tuning.job"')
    (export / "deep.json").write_text("[" * 100_000)
    (export / "other.json").write_text('{"object": "model"}')
    (export / "surrogate.json").write_text('{"object": "fine_tuning.job", "id": "\\ud800"}')
    (export / "notes.txt").write_text("")
    (export / "evals.json").write_text(json.dumps({"object": "eval", "id": "eval_9"}))
    save(export, job(1), job(2))
    printed = json.loads(run(export, "--json"))
    assert {one["what"]: one["why"] for one in printed["aside"]} == {
        "broken.json": "it is not UTF-8",
        "half.json": "it is not JSON",
        "deep.json": "it is not JSON",
        "other.json": "`model` is no job, file or eval",
        "surrogate.json": "it is not JSON",
        "notes.txt": "it is no .json or .jsonl",
        "file-pairs.jsonl": "no job names it",
        "file-prompts.jsonl": "no job names it",
        "eval_9": "no job names this eval as its `eval_id`",
    }
    assert [one["written"] for one in printed["jobs"]] == [True, True]
    (export / "jobs.json").unlink()
    with pytest.raises(NotFound, match="no fine-tuning job"):
        run(export)


def test_criteria_of_an_eval_are_metrics_graders_and_gates(export: Path) -> None:
    alike = {**{key: RIGHT[key] for key in ("input", "reference")}, "pass_threshold": 0.5}
    criteria = [
        RIGHT,
        {**RIGHT, "operation": "like"},
        {"type": "text_similarity", "name": "t", "evaluation_metric": "rouge_l", **alike},
        {"type": "label_model", "name": "l"},
        {"type": "text_similarity", "name": "t", "evaluation_metric": "rouge_2", **alike},
        {**RIGHT, "reference": "R50"},
        {**RIGHT, "operation": "ilike", "reference": "code {{item.code}}"},
        {**RIGHT, "operation": "ilike", "reference": "note {{item.note}}"},
        {"type": "text_similarity", "name": "t", "evaluation_metric": "cosine", **alike},
        7,
    ]
    one = {"object": "eval", "id": "eval_1", "name": "codes", "testing_criteria": criteria}
    (export / "evals.json").write_text(json.dumps(one))
    (export / "file-chat.jsonl").write_text(f"{json.dumps({**CHAT, 'note': 'n'})}\n" * 30)
    save(export, job(1, validation_file="file-chat"))
    found = notes(export)
    listed = [found[f"eval_1.testing_criteria[{n}]"] for n in range(len(criteria))]
    left = {3: "asks a model", 6: "no column `code`", 8: "evaluation_metric", 9: "no table"}
    assert {n for n, note in enumerate(listed) if note["outcome"] == "no effect"} == left.keys()
    assert all(words in listed[n]["why"] for n, words in left.items())
    run(export)
    evaluate = load_manifest("manifests/support.toml").evaluate
    graders = {grader.name: grader for grader in evaluate.graders}
    assert {
        name: (grader.operation if isinstance(grader, StringCheck) else "", grader.reference)
        for name, grader in graders.items()
        if not isinstance(grader, Multi)
    } == {
        "is_it_right_": ("like", "{{item.answer}}"),
        "t": ("", "{{item.answer}}"),
        "is_it_right__2": ("eq", "R50"),
        "is_it_right__3": ("ilike", "note {{item.note}}"),
    }
    assert evaluate.metrics == (
        "exact_match",
        "grader:is_it_right_",
        "rouge_l",
        "grader:t",
        "grader:is_it_right__2",
        "grader:is_it_right__3",
    )
    assert tuple(gate.metric for gate in evaluate.gates) == evaluate.metrics


def test_names_are_bounded_and_say_something(export: Path) -> None:
    assert name_of({"user_provided_suffix": "x" * 10_000_000}) == "x" * 64
    assert name_of({"user_provided_suffix": "医疗", "id": "ftjob-AbC"}) == "ftjob-abc"
    assert name_of({"fine_tuned_model": f"ft:{MODEL}:acme:icd 10:id"}) == "icd-10"
    save(export, *(job(n, user_provided_suffix="x" * 5000) for n in range(12)))
    run(export)
    written = [load_manifest(path).adapter.name for path in Path("manifests").iterdir()]
    assert len(set(written)) == 12


def test_the_nearest_base() -> None:
    bases = ["smollm2-135m-instruct", "llama-8b", "qwen-1.5b-instruct", "gpt-oss-20b"]
    assert nearest_base(MODEL, bases) == "qwen-1.5b-instruct"
    assert nearest_base("gpt-oss-20b", bases) == "gpt-oss-20b"
    assert nearest_base(MODEL, ["a-1b", "b-500m"]) == "a-1b"
    with pytest.raises(ValueError, match="no base"):
        nearest_base(MODEL, [])
