"""`adapters data synth` against a real HTTP server: what is kept, and what a kill costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.rows import chat
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.prompts import Written, read_pairs, read_score
from adapterworks.cli.main import cli
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.synthesis.conftest import NAMES

Reply = tuple[int, Any, dict[str, str]]
ADAPTERS = Path(sys.executable).with_name("adapters")


def passage(name: str) -> str:
    return (
        f"# {name}\n\nThe {name} lamp is lit by the {name} porter at ten, and nobody but the "
        f"{name} porter has its {name} key, which hangs in the {name} office.\n"
    )


def written(name: str, **changed: str) -> dict[str, str]:
    pair = {
        "question": f"{name} {name} {name} who lights {name}?",
        "answer": f"The {name} porter.",
        "evidence": f"lit by the {name}\n porter",
    }
    return {**pair, **changed}


def name_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).split("# ")[2].split("\n")[0]


def writes(body: dict[str, Any]) -> Reply:
    """One pair a passage; the judge gives five."""
    if body["model"] == "judge":
        return 200, completion("It is proved.\nScore: 5"), {}
    return 200, completion(f"Here:\n```json\n{json.dumps([written(name_of(body))])}\n```"), {}


@pytest.fixture
def docs(tmp_path: Path, home: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.md").write_text(passage(name))
    return folder


def run(docs: Path, url: str, *arguments: str) -> Any:
    app = App()
    out = str(docs.parent / "rows.jsonl")
    given = ["data", "synth", str(docs), "--generator", f"{url}#writer", "--out", out, "--json"]
    result = CliRunner().invoke(cli, [*given, *arguments], obj=app, catch_exceptions=False)
    app.close()
    return json.loads(result.stdout)


def rows(docs: Path) -> list[Any]:
    return [json.loads(line) for line in (docs.parent / "rows.jsonl").read_text().splitlines()]


def test_every_row_says_where_it_is_from_and_is_read_as_a_dataset(docs: Path) -> None:
    with endpoint(writes) as asked:
        told = run(docs, asked.url, "--judge", f"{asked.url}#judge")
    assert (told["kept"], told["asked"], told["tokens"]) == (14, 28, 280)
    first = rows(docs)[0]
    assert first["messages"][1] == {"role": "assistant", "content": "The amber porter."}
    host = asked.url.removeprefix("http://").removesuffix("/v1")
    assert first["document"] == "docs/amber.md"
    assert first["passage"] == passage("amber").strip()
    assert (first["model"], first["judge"]) == (f"writer at {host}", f"judge at {host}")
    assert first["judge_score"] == 5
    assert first["prompt_digest"].startswith("sha256:")
    (row, *others) = load_source(str(docs.parent / "rows.jsonl"), "messages").rows
    assert len(others) == 13
    assert row.meta["evidence"] == "lit by the amber\n porter"


def test_pairs_without_proof_old_ones_and_bad_ones_are_left_out(docs: Path) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        name = name_of(body)
        if body["model"] == "judge":
            said = {"basil": "Score: 3", "cedar": "no line"}.get(name, "Score: 4")
            return 200, completion(said), {}
        pairs: Any = {
            "dahlia": [written(name, evidence="lit by the porter")],  # not in these words
            "ember": [written(name), written(name)],
            "fjord": [{"question": "half a pair"}],
            "garnet": "no JSON",
        }.get(name, [written(name)])
        return 200, completion(pairs if isinstance(pairs, str) else json.dumps(pairs)), {}

    with endpoint(answer) as asked:
        told = run(docs, asked.url, "--judge", f"{asked.url}#judge")
    assert told["left_out"] == {
        "unread": 2, "evidence": 1, "novelty": 1, "against": 0, "judge": 2
    }  # fmt: skip
    found = {Path(row["document"]).stem for row in rows(docs)}
    assert found == {*NAMES} - {"basil", "cedar", "dahlia", "fjord", "garnet"}


def test_a_preview_writes_nothing_and_is_not_paid_for_again(docs: Path) -> None:
    with endpoint(writes) as asked:
        told = run(docs, asked.url, "--preview", "--parallel", "5")
        assert len(told["rows"]) == 10
        assert len(asked.bodies) == 10
        assert not (docs.parent / "rows.jsonl").exists()
        told = run(docs, asked.url)
    assert (told["kept"], told["asked"], len(asked.bodies)) == (14, 4, 14)


def test_the_budget_is_never_exceeded_and_says_so(docs: Path) -> None:
    """Each request may cost 1024 tokens and its bytes; it is known to have cost 900 afterwards."""

    def dear(body: dict[str, Any]) -> Reply:
        status, said, headers = writes(body)
        return status, said | {"usage": {"prompt_tokens": 600, "completion_tokens": 300}}, headers

    with endpoint(dear) as asked:
        told = run(docs, asked.url, "--max-tokens", "9000")
        assert told["spent"]
        assert told["tokens"] == 900 * len(asked.bodies) <= 9000
        assert len(asked.bodies) >= 7  # the last one that fits is sent
        again = run(docs, asked.url, "--max-tokens", "9000")
        assert again | {"asked": 0, "sent_tokens": 0} == again
        assert (again["kept"], again["tokens"]) == (told["kept"], told["tokens"])


def test_a_kill_and_a_second_run_pay_for_no_answer_twice(docs: Path) -> None:
    """Killed by signal 9 while a request is under way, which alone is sent again."""
    answered: list[str] = []
    started: list[subprocess.Popen[bytes]] = []

    def kills(body: dict[str, Any]) -> Reply:
        if len(answered) == 11 and started:
            os.kill(started.pop().pid, signal.SIGKILL)
            return 200, completion("too late"), {}
        answered.append(json.dumps(body, sort_keys=True))
        return writes(body)

    with endpoint(kills) as asked:
        command = [
            str(ADAPTERS), "data", "synth", str(docs), "--generator", f"{asked.url}#writer",
            "--judge", f"{asked.url}#judge", "--parallel", "1",
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=docs.parent)
        started.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
        told = run(docs, asked.url, "--judge", f"{asked.url}#judge", "--parallel", "1")
    assert len(answered) == len(set(answered)) == 28
    assert len(asked.bodies) == 29  # the one that the kill cut off
    assert (told["kept"], told["asked"]) == (14, 17)


def test_what_a_model_says_is_read_or_nothing() -> None:
    pair = {"question": " q ", "answer": "a", "evidence": "e"}
    assert read_pairs(f"[see] {json.dumps([pair, 3, {'question': 'x'}])} end") == (
        Written("q", "a", "e"),
    )
    for bad in ("", "{}", "[", json.dumps([{**pair, "answer": " "}]), json.dumps([pair])[:-3]):
        assert read_pairs(bad) == ()
    assert read_score("Score: 2\n**Score: 4**") == 4
    for bad in ("Score: 6", "5", "the score: 5 is good"):
        assert read_score(bad) is None


def test_a_question_is_new_or_not_by_rouge_l() -> None:
    questions = Questions(0.7)
    assert questions.add("Who lights the lamp of room twelve?")
    assert not questions.add("Who lights the lamp in room twelve?")  # 6 of 7 words in order
    assert questions.add("Twelve room of lamp the lights who?")  # the same words, in no order
    assert questions.add("谁点亮十二号房间的灯？")
    assert not questions.add("谁点亮十三号房间的灯？")


def test_a_question_that_became_no_row_is_new_again() -> None:
    questions = Questions(0.7, ["who lights the lamp?"])
    assert questions.add("who has the key of the office?")
    assert questions.add("when does the porter come?")
    assert not questions.add("when does the porter come?"), "it is not settled yet"
    questions.settle([chat("when does the porter come?", "At ten.")])
    assert questions.add("who has the key of the office?")
    assert not questions.add("when does the porter come?")
