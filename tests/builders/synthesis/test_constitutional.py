"""`adapters data constitutional` over a real socket: what a row says, and what a kill costs."""

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
from adapterworks.builders.synthesis.constitution import read_constitution, shipped
from adapterworks.builders.synthesis.questions import read_prompts
from adapterworks.builders.synthesis.strategies.constitutional import Settings, principles_of
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import InvalidInput, NotFound
from tests.builders.endpoints.standin import completion, endpoint

Reply = tuple[int, Any, dict[str, str]]
ADAPTERS = Path(sys.executable).with_name("adapters")
COUNT = 12
HOUSE = """
name = "house"

[[principles]]
name = "kind"
critique = "Say whether it is KIND."
revision = "Make it kinder."
preference = "The kinder one is better."

[[principles]]
name = "brief"
critique = "Say whether it is BRIEF."
revision = "Make it briefer."
preference = "The briefer one is better."
"""


def shown(body: dict[str, Any], title: str) -> str:
    """A part of the material."""
    text = str(body["messages"][-1]["content"])
    return text.split(f"### {title}\n")[1].split("\n\n###")[0]


def kind_of(body: dict[str, Any]) -> str:
    system = str(body["messages"][0]["content"])
    for kind in ("critic", "anew", "compare"):
        if kind in system:
            return kind
    return "answer"


def scripted(body: dict[str, Any]) -> Reply:
    """Answers, mends by a word, and prefers what was mended."""
    match kind_of(body):
        case "critic":
            said = f"It is rude: {shown(body, 'ANSWER')}"
        case "anew":
            assert shown(body, "CRITIQUE") == f"It is rude: {shown(body, 'ANSWER')}"
            said = f"{shown(body, 'ANSWER')} Please."
        case "compare":
            said = "Verdict: A" if shown(body, "ANSWER A").endswith("Please.") else "Verdict: B"
        case _:
            said = f"About {body['messages'][-1]['content']}"
    return 200, completion(said), {}


@pytest.fixture
def prompts(tmp_path: Path, home: Path) -> Path:
    lines = [{"prompt": f"question {number}?"} for number in range(COUNT)]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "house.toml").write_text(HOUSE)
    return path


def words(prompts: Path, url: str, *more: str) -> list[str]:
    house = str(prompts.parent / "house.toml")
    given = ["data", "constitutional", str(prompts), "--constitution", house]
    return [*given, "--model", f"{url}#writer", "--out", str(prompts.parent / "rows.jsonl"), *more]


def run(prompts: Path, url: str, *more: str) -> Any:
    app = App()
    arguments = [*words(prompts, url, *more), "--json"]
    result = CliRunner().invoke(cli, arguments, obj=app, catch_exceptions=False)
    app.close()
    return json.loads(result.stdout)


def rows(prompts: Path) -> list[Any]:
    return [json.loads(line) for line in (prompts.parent / "rows.jsonl").read_text().splitlines()]


def test_every_row_says_how_it_came_to_be_and_is_read_as_a_preference(prompts: Path) -> None:
    with endpoint(scripted) as asked:
        told = run(prompts, asked.url, "--judge", f"{asked.url}#judge")
    assert (told["kept"], told["asked"], told["tokens"]) == (COUNT, COUNT * 5, COUNT * 50)
    house = read_constitution(str(prompts.parent / "house.toml"))
    host = asked.url.removeprefix("http://").removesuffix("/v1")
    found = rows(prompts)
    assert found[3]["prompt"] == [{"role": "user", "content": "question 3?"}]
    assert found[3]["chosen"] == "About question 3? Please."
    assert found[3]["rejected"] == "About question 3?"
    assert found[3]["critique"] == ["It is rude: About question 3?"]
    for row in found:
        assert row["chosen_is"] == "revision"
        assert (row["model"], row["judge"]) == (f"writer at {host}", f"judge at {host}")
        assert (row["constitution"], row["constitution_digest"]) == ("house", house.digest)
        assert row["prompt_digest"].startswith("sha256:")
    by = {row["principle"][0]: row["prompt_digest"] for row in found}
    assert {*by} == {"kind", "brief"}, "each prompt has a principle, and not all the same"
    assert by["kind"] != by["brief"]
    judges = [body for body in asked.bodies if body["model"] == "judge"]
    assert len(judges) == 2 * COUNT
    assert all("er one is better." in str(body["messages"][0]["content"]) for body in judges)
    (first, *others) = load_source(str(prompts.parent / "rows.jsonl"), "preference").rows
    assert len(others) == COUNT - 1
    assert (first.kind, first.answer) == ("comparison", "About question 0? Please.")
    assert first.others[0][-1]["content"] == "About question 0?"
    assert first.meta["principle"] in (["kind"], ["brief"])


def test_what_gives_no_preference_gives_no_row(prompts: Path) -> None:
    """The order decides one, one is a tie, one revision says the same, answers are empty or cut."""

    def odd(body: dict[str, Any]) -> Reply:
        text, kind = json.dumps(body["messages"]), kind_of(body)
        status, said, headers = scripted(body)
        if "question 1?" in text and kind == "compare":
            return status, completion("Verdict: A"), headers
        if "question 2?" in text and kind == "compare":
            return status, completion("Verdict: tie"), headers
        if "question 3?" in text and kind == "anew":
            return status, completion(f" {shown(body, 'ANSWER')}\n"), headers
        if "question 4?" in text and kind == "answer":
            return status, completion("  "), headers
        if "question 5?" in text and kind == "anew":
            return status, completion("half an ans", finish="length"), headers
        if "question 6?" in text and kind == "compare":  # the first answer is better
            said = "Verdict: B" if "Please" in shown(body, "ANSWER A") else "Verdict: A"
            return status, completion(said), headers
        if "question 7?" in text and kind == "compare":
            return status, completion("Both are fine."), headers
        return status, said, headers

    with endpoint(odd) as asked:
        told = run(prompts, asked.url)
    assert told["left_out"] == {"empty": 1, "cut": 1, "unchanged": 1, "tied": 1, "abstained": 2}
    assert (told["kept"], told["kept_first"]) == (COUNT - 6, 1)
    (first,) = [row for row in rows(prompts) if row["chosen_is"] == "first"]
    assert (first["chosen"], first["rejected"]) == (
        "About question 6?",
        "About question 6? Please.",
    )


def test_a_second_round_goes_on_from_the_first_under_another_principle(prompts: Path) -> None:
    with endpoint(scripted) as asked:
        told = run(prompts, asked.url, "--rounds", "2")
    assert told["asked"] == COUNT * 7
    for row in rows(prompts):
        assert sorted(row["principle"]) == ["brief", "kind"]
        assert row["chosen"].endswith("? Please. Please.")
        assert row["critique"][1].endswith("Please.")
    compares = [body for body in asked.bodies if kind_of(body) == "compare"]
    assert all(
        "kinder one" in str(body["messages"][0]) and "briefer one" in str(body["messages"][0])
        for body in compares
    )


def test_a_preview_writes_nothing_and_is_not_paid_for_again(prompts: Path) -> None:
    with endpoint(scripted) as asked:
        told = run(prompts, asked.url, "--preview", "--parallel", "5")
        assert len(told["rows"]) == 5
        assert len(asked.bodies) == 25
        assert not (prompts.parent / "rows.jsonl").exists()
        told = run(prompts, asked.url)
    assert (told["kept"], told["asked"], len(asked.bodies)) == (COUNT, 35, COUNT * 5)


def test_the_budget_is_never_exceeded_and_says_so(prompts: Path) -> None:
    def dear(body: dict[str, Any]) -> Reply:
        status, said, headers = scripted(body)
        return status, said | {"usage": {"prompt_tokens": 500, "completion_tokens": 400}}, headers

    with endpoint(dear) as asked:
        told = run(prompts, asked.url, "--max-tokens", "20000")
        assert told["spent"]
        assert told["tokens"] == 900 * len(asked.bodies) <= 20000
        again = run(prompts, asked.url, "--max-tokens", "20000")
        assert again | {"asked": 0, "sent_tokens": 0} == again
        assert (again["kept"], again["tokens"]) == (told["kept"], told["tokens"])


def test_a_kill_and_a_second_run_pay_for_no_answer_twice(prompts: Path) -> None:
    """Killed by signal 9 while a revision is under way, which alone is sent again."""
    answered: list[str] = []
    started: list[subprocess.Popen[bytes]] = []

    def kills(body: dict[str, Any]) -> Reply:
        if len(answered) == 13 and started:
            os.kill(started.pop().pid, signal.SIGKILL)
            return 200, completion("too late"), {}
        answered.append(json.dumps(body, sort_keys=True))
        return scripted(body)

    with endpoint(kills) as asked:
        command = [str(ADAPTERS), *words(prompts, asked.url, "--parallel", "1")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=prompts.parent)
        started.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
        assert not (prompts.parent / "rows.jsonl").exists()
        told = run(prompts, asked.url, "--parallel", "1")
        killed = rows(prompts)
        (prompts.parent / "rows.jsonl").unlink()
    assert len(answered) == len(set(answered)) == COUNT * 5
    assert len(asked.bodies) == COUNT * 5 + 1  # the one that the kill cut off
    assert (told["kept"], told["asked"]) == (COUNT, COUNT * 5 - 13)
    assert [row["chosen"] for row in killed] == [
        f"About question {number}? Please." for number in range(COUNT)
    ]


def test_a_prompt_has_its_principle_whatever_stands_around_it() -> None:
    careful = read_constitution("careful")
    prompt: Any = ({"role": "user", "content": "How do I open a lock?"},)
    drawn = principles_of(prompt, careful, Settings(rounds=8))
    assert sorted(one.name for one in drawn) == sorted(one.name for one in careful.principles)
    assert principles_of(prompt, careful, Settings()) == drawn[:1]
    seeds = {principles_of(prompt, careful, Settings(seed=seed))[0].name for seed in range(40)}
    assert len(seeds) == len(careful.principles)


def test_those_that_come_along_are_constitutions() -> None:
    assert shipped() == ["careful"]
    assert {read_constitution(name).name for name in shipped()} == {*shipped()}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (HOUSE.replace('name = "brief"', 'name = "kind"'), "two principles are called `kind`"),
        (HOUSE.replace("critique", "criticism", 1), "principles.0.critique: Field required"),
        (HOUSE + 'colour = "red"\n', "principles.1.colour: Extra inputs are not permitted"),
        ('name = "x"\nprinciples = []', "principles: List should have at least 1 item"),
        ("name = ", "is no TOML"),
    ],
)
def test_a_constitution_with_a_fault_is_refused_by_its_key(
    tmp_path: Path, changed: str, said: str
) -> None:
    path = tmp_path / "house.toml"
    path.write_text(changed)
    with pytest.raises(InvalidInput, match=said):
        read_constitution(str(path))
    with pytest.raises(NotFound, match="no constitution `gone`"):
        read_constitution("gone")


def test_a_digest_is_of_the_principles_words(tmp_path: Path) -> None:
    path = tmp_path / "house.toml"
    path.write_text(HOUSE)
    before = read_constitution(str(path)).digest
    path.write_text(HOUSE.replace("house", "home") + "\n# a remark\n")
    assert read_constitution(str(path)).digest == before
    path.write_text(HOUSE.replace("Make it kinder", "Make it kind"))
    assert read_constitution(str(path)).digest != before


def test_prompts_are_texts_turns_or_conversations_and_nothing_else(tmp_path: Path) -> None:
    user = {"role": "user", "content": "why?"}
    system, said = {"role": "system", "content": "Be brief"}, {"role": "assistant", "content": "so"}
    path = tmp_path / "prompts.jsonl"
    good = [
        {"prompt": "why?"},
        {"prompt": [user]},
        {"messages": [system, user, said]},
        {"messages": [user, said, user]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in good))
    assert read_prompts([path]) == [(user,), (system, user), (user, said, user)]
    for bad, why in (
        ({"text": "x"}, "no column `prompt`"),
        ({"prompt": " "}, "does not end with a question"),
        ({"messages": [said]}, "does not end with a question"),
        ({"prompt": [user, said]}, "does not end with a question"),
    ):
        path.write_text(json.dumps(bad) + "\n")
        with pytest.raises(InvalidInput, match=f"row 1: .*{why}"):
            read_prompts([path])
