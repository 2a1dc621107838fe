"""`adapters watch` on an alias: who is compared, when it stops, what a kill costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer

from adapterworks.app import App
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation import scorers
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.watching.draws import means, ordered
from adapterworks.cli import watch
from adapterworks.cli.main import cli
from adapterworks.engines import compose
from adapterworks.manifests.data_tables import DataTable
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.graders import StringCheck
from adapterworks.manifests.models import AdapterTable, BaseTable, Manifest
from adapterworks.registry.bases.base import Base
from adapterworks.registry.releases.release import Draft, Servable
from tests.builders.engines.scripted import Scripted

ROWS = 400
_SAID = "{{sample.output_text}}"
SAYS = StringCheck(
    type="string_check", name="says", operation="eq", input=_SAID, reference="{{item.answer}}"
)
CODE = StringCheck(
    type="string_check", name="code", operation="eq", input=_SAID, reference="{{item.code}}"
)


@cache
def _tokenizer(checkpoint: Path) -> Any:
    """Read once for all tests: it is only asked."""
    return AutoTokenizer.from_pretrained(checkpoint)


class Shelf:
    """`medical` 1 and 2, `prod` at 2; what each says to row n is decided by `wrong`."""

    def __init__(self, base: Base, folder: Path) -> None:
        self.app = App()
        self.rows = folder / "rows.jsonl"
        self.asked: list[tuple[int, int]] = []
        self.wrong: dict[int, Callable[[int], bool]] = {1: lambda _: False, 2: lambda _: False}
        self.digests: dict[str, int] = {}
        lines = [
            {
                "messages": [
                    {"role": "user", "content": f"say {n}"},
                    {"role": "assistant", "content": f"{n}"},
                ]
            }
            for n in range(ROWS)
        ]
        self.rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self._tokenizer = _tokenizer(base.checkpoint)
        for number in (1, 2):
            self._publish(base, folder / str(number), number)
            self.app.registry.promote("medical", number, "prod", who="tester")

    def engines(self) -> Engines:
        return Engines(openers={"huggingface": Scripted(self._answer)})

    def run(self, *arguments: str) -> Any:
        result = CliRunner().invoke(
            cli, ["watch", "medical:prod", "--rows", str(self.rows), "--json", *arguments],
            obj=self.app,
        )  # fmt: skip
        if result.exception is not None and not isinstance(result.exception, Refused):
            raise result.exception
        return json.loads(result.stdout), result.exception

    def holder(self) -> int:
        return self.app.registry.resolve("medical:prod").version

    def _answer(self, adapter: str | None, prompt: tuple[int, ...]) -> list[int]:
        number = int(self._tokenizer.decode(prompt).split("say ")[1].split("<")[0])
        release = self.digests[str(adapter)]
        self.asked.append((release, number))
        said = "no" if self.wrong[release](number) else f"{number}"
        ids: list[int] = self._tokenizer.encode(said)
        return ids

    def _publish(self, base: Base, folder: Path, number: int) -> None:
        (folder / "servable").mkdir(parents=True)
        (folder / "servable" / "adapter_model.safetensors").write_bytes(
            f"weights {number}".encode()
        )
        manifest = Manifest(
            adapter=AdapterTable(name="medical"),
            base=BaseTable(model="smollm2-135m-instruct"),
            method=LoraTable(kind="lora", rank=2),
            data=DataTable(train="icd-10-cm:train"),
            evaluate=EvaluateTable(
                metrics=("bleu", "exact_match"),
                graders=(SAYS, CODE),
                max_new_tokens=8,
                batch_size=16,
            ),
        )
        draft = Draft(
            name="medical",
            method="lora",
            created="2026-01-01T00:00:00.000000Z",
            created_by="tester",
            base=base.identity,
            servable=Servable(form="lora", origin="approximate", rank=2),
            manifest=manifest.model_dump(mode="json"),
        )
        self.digests[self.app.registry.publish(folder, draft, who="tester").digest] = number


@pytest.fixture
def shelf(
    home: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shelf]:
    made = Shelf(base, tmp_path)
    monkeypatch.setattr(compose, "compose_builders_engines", lambda *_, **__: made.engines())
    yield made
    made.app.close()


def test_a_worse_release_is_found_early_and_rolled_back_with_its_reason(shelf: Shelf) -> None:
    shelf.wrong[2] = lambda number: number % 3 == 0
    told, error = shelf.run("--rollback")
    assert (told["verdict"], told["watched"], told["reference"]) == (
        "drop",
        "medical@2",
        "medical@1",
    )
    assert told["rows"] <= told["asked"] < ROWS
    assert told["asked"] - told["rows"] < 16  # it stopped with the batch that decided
    assert told["bounds"][0] >= 0.02 - 1e-9
    assert isinstance(error, Refused)  # exit code 6
    assert f"worse than medical@1 after {told['rows']} of {ROWS} rows" in str(error)
    assert shelf.holder() == 1
    move = shelf.app.registry.history("medical", "prod")[-1]
    assert (move.kind, move.why) == ("rollback", error.message)


def test_without_rollback_the_alias_stays_and_what_was_asked_is_not_asked_again(
    shelf: Shelf,
) -> None:
    shelf.wrong[2] = lambda number: number % 3 == 0
    first, _ = shelf.run()
    count = len(shelf.asked)
    again, error = shelf.run("--once")
    assert (again["asked"], len(shelf.asked)) == (0, count)
    assert {**again, "asked": first["asked"]} == first
    assert isinstance(error, Refused)
    assert shelf.holder() == 2


def test_a_watch_that_was_killed_goes_on_and_ends_as_one_that_was_not(shelf: Shelf) -> None:
    shelf.wrong[2] = lambda number: number % 7 == 0
    whole, _ = shelf.run()
    order = list(shelf.asked)
    assert whole["verdict"] == "drop"
    for path in (shelf.app.settings.home / "watch").iterdir():
        path.unlink()
    shelf.asked.clear()
    wrong = shelf.wrong[2]

    def killed(number: int) -> bool:
        if len(shelf.asked) > 70:
            raise KeyboardInterrupt
        return wrong(number)

    shelf.wrong[2] = killed
    with pytest.raises(SystemExit):
        shelf.run()
    kept = len(shelf.asked) // 32 * 16  # rows of whole batches of both
    shelf.wrong[2] = wrong
    shelf.asked.clear()
    resumed, _ = shelf.run()
    assert shelf.asked == order[2 * kept :]
    assert {**resumed, "asked": whole["asked"]} == whole
    assert resumed["asked"] == whole["asked"] - kept


def test_scores_are_kept_under_all_that_decides_them(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another column that a metric reads, another grader, another version of what scores."""
    metric = ("--metric", "grader:code", "--max-drop", "0.5")
    lines = [json.loads(line) for line in shelf.rows.read_text().splitlines()]

    def asked(wrong: int) -> tuple[int, float]:
        for number, line in enumerate(lines):
            line["code"] = "no" if number % wrong == 0 else f"{number}"
        shelf.rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        told, _ = shelf.run(*metric)
        return told["asked"], told["drop"]

    shelf.wrong[2] = lambda number: number % 2 == 0
    assert asked(wrong=ROWS)[0] > 0
    first = asked(wrong=ROWS)
    assert first[0] == 0
    again = asked(wrong=2)  # now what the watched release says is right
    assert again[0] > 0
    assert again[1] < 0 < first[1]
    assert shelf.run(*metric)[0]["asked"] == 0
    monkeypatch.setattr(scorers, "source_digest", lambda kind, name: "sha256:" + "9" * 64)
    assert shelf.run(*metric)[0]["asked"] > 0
    assert shelf.run(*metric)[0]["asked"] == 0
    monkeypatch.setattr(scorers, "versions", lambda names: {"sacrebleu": "99"})
    assert shelf.run(*metric)[0]["asked"] > 0


def test_a_grader_of_the_manifest_is_watched(shelf: Shelf) -> None:
    shelf.wrong[2] = lambda number: number % 3 == 0
    told, error = shelf.run("--metric", "grader:says")
    assert (told["verdict"], told["metric"]) == ("drop", "grader:says")
    assert isinstance(error, Refused)
    with pytest.raises(InvalidInput, match="`grader:other` is no grader"):
        shelf.run("--metric", "grader:other")


def test_equal_releases_are_undecided_or_steady_by_what_is_let_pass(shelf: Shelf) -> None:
    told, error = shelf.run("--max-drop", "0.001")
    assert (told["verdict"], told["rows"], error) == ("undecided", ROWS, None)
    told, error = shelf.run("--max-drop", "0.05")
    assert (told["verdict"], told["asked"], error) == ("steady", 0, None)
    assert told["metric"] == "exact_match"  # bleu is no mean of rows
    assert told["rows"] < ROWS


def test_a_canary_is_watched_against_the_holder(shelf: Shelf) -> None:
    shelf.app.registry.promote("medical", 1, "prod", who="tester")
    shelf.app.registry.promote("medical", 2, "prod", who="tester", weight=10)
    shelf.wrong[2] = lambda _: True
    told, _ = shelf.run("--rollback")
    assert (told["watched"], told["reference"]) == ("medical@2", "medical@1")
    assert [one.version for one in shelf.app.registry.weights("medical", "prod")] == [1]


def test_it_is_looked_again_until_it_is_worse(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert len(waited) <= 2, "it went on although it is worse"
        if len(waited) == 2:
            shelf.app.registry.rollback("medical", "prod", who="tester")
            shelf.app.registry.promote("medical", 2, "prod", who="tester")
            shelf.wrong[2] = lambda _: True
            for path in (shelf.app.settings.home / "watch").iterdir():
                path.unlink()

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=wait))
    arguments = ["watch", "medical:prod", "--rows", str(shelf.rows), "--max-drop", "0.05"]
    result = CliRunner().invoke(cli, [*arguments, "--every", "1h"], obj=shelf.app)
    assert isinstance(result.exception, Refused)
    assert waited == [3600, 3600]
    assert result.stdout.count("medical:prod is medical@2, no worse than medical@1 after") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "medical@2"), "cannot be compared with itself"),
        (("--metric", "bleu"), "no mean of one score a row"),
        (("--from", "feedback"), "`--rows` is not of feedback"),
        (("--tenant", "acme"), "`--tenant` is not of rows"),
        (("--from", "inputs", "--against", "medical@1"), "`--against` is not of inputs"),
        (("--once", "--every", "1h"), "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(
    shelf: Shelf, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        shelf.run(*arguments)


def test_there_must_be_something_to_compare_with(shelf: Shelf) -> None:
    shelf.app.registry.promote("medical", 1, "first", who="tester")
    for ref, message in (
        ("medical:first", "had no other release before"),
        ("medical@2", "a version"),
    ):
        result = CliRunner().invoke(cli, ["watch", ref], obj=shelf.app)
        with pytest.raises(InvalidInput, match=message):
            raise result.exception or AssertionError


def test_feedback_is_read_from_the_gateways_store(shelf: Shelf) -> None:
    from adapterworks.registry.exchanges.exchange import Subject
    from adapterworks.registry.exchanges.feedback import NewFeedback, add

    for digest, number in shelf.digests.items():
        for count in range(70):
            subject = Subject(f"r{number}-{count}", "medical", digest, False)
            thumb: Any = "up" if number == 1 else "down"
            add(shelf.app.exchanges, "acme", subject, NewFeedback(thumb=thumb), 1.0)
    arguments = ["watch", "medical:prod", "--from", "feedback", "--rollback"]
    result = CliRunner().invoke(cli, arguments, obj=shelf.app)
    assert isinstance(result.exception, Refused)
    assert "after 70 and 70 judged answers: feedback dropped by +1.000" in str(result.exception)
    assert "medical:prod → medical@1" in result.stdout


def test_the_order_of_rows_is_not_the_files() -> None:
    """Two copies of a file, sorted in other ways, are asked in one order."""
    rows = [Row(text=str(number)) for number in range(20)]
    asked = [row.text for (row,) in ordered(rows)]
    assert [row.text for (row,) in ordered(rows[::-1])] == asked
    assert sorted(asked, key=lambda text: int(text or 0)) == [row.text for row in rows] != asked


def test_rows_of_a_group_are_one_draw(shelf: Shelf) -> None:
    """Forty rows of each of ten groups fail in one of them: a tenth of ten draws, not of 400."""
    lines = [json.loads(line) for line in shelf.rows.read_text().splitlines()]
    shelf.wrong[2] = lambda number: number % 10 == 0
    alone, _ = shelf.run("--max-drop", "0")
    assert (alone["verdict"], "groups" in alone) == ("drop", False)
    for number, line in enumerate(lines):
        line["group"] = f"patient {number % 10}"
    shelf.rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told, error = shelf.run("--max-drop", "0")
    assert (told["verdict"], told["rows"], told["groups"], told["of"]) == ("undecided", 10, 10, 400)
    assert (told["drop"], error) == (pytest.approx(0.1), None)
    assert told["bounds"][1] - told["bounds"][0] > 0.5


def test_a_draw_counts_once_all_its_rows_are_there() -> None:
    values = np.array([1.0, 0.0, 0.0, 0.5, 0.5, 1.0])
    assert means(values[:0], [2, 1, 3]).tolist() == []
    assert means(values[:1], [2, 1, 3]).tolist() == []
    assert means(values[:5], [2, 1, 3]).tolist() == [0.5, 0.0]
    assert means(values, [2, 1, 3]).tolist() == [0.5, 0.0, pytest.approx(2 / 3)]
    mixed = [Row(text=f"{n}", meta={"group": n % 3} if n % 2 else {}) for n in range(12)]
    draws = ordered(mixed)
    assert sorted(map(len, draws)) == [1] * 6 + [2] * 3
    assert all(len({row.meta.get("group") for row in draw}) == 1 for draw in draws)
