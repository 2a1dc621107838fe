"""Evol-Instruct over a real socket: what evolves, what is eliminated, and from where it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.synthesis.strategies.evol_instruct import OPERATIONS
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.synthesis.conftest import NAMES, Synth, shown, system

Reply = tuple[int, Any, dict[str, str]]
MORE = ("zinc", "opal", "quartz", "rust")


def evolves(body: dict[str, Any]) -> bool:
    return "new question alone" in system(body)


def name_of(text: str) -> str:
    return next(name for name in NAMES if name in text)


def evolved(body: dict[str, Any]) -> str:
    """Another word four times, each round another one, and the seed's name once."""
    question = shown(body, "QUESTION")
    name = name_of(question)
    word = MORE[body["seed"]]  # of the round's draw
    every = " ".join(more for more in MORE if more in question)
    return f"{name} {every} {word} {word}{name} {word}x{name} {word}y{name}?"


def scripted(body: dict[str, Any]) -> Reply:
    if body["model"] == "judge":
        said = "Verdict: not equal" if "two questions" in system(body) else "Score: 5"
        return 200, completion(said), {}
    if evolves(body):
        return 200, completion(evolved(body)), {}
    return 200, completion(f"Answered: {body['messages'][-1]['content']}"), {}


def test_rounds_go_on_from_what_evolved(synth: Synth) -> None:
    with endpoint(scripted) as asked:
        told = synth.run(
            "evol-instruct", asked.url, "--rounds", "3", "--judge", f"{asked.url}#judge"
        )
    assert (told["kept"], told["seeds"]) == (18, 6)
    rows = synth.rows
    by_digest = {chat(*(t["content"] for t in row["messages"])).digest: row for row in rows}
    assert {row["round"] for row in rows} == {1, 2, 3}
    for row in rows:
        question, answer = (turn["content"] for turn in row["messages"])
        assert answer == f"Answered: {question}"
        assert row["strategy"] == "evol-instruct"
        assert row["operation"] in OPERATIONS
        assert row["judge_score"] == 5
        assert row["group"] == row["seed"], "a split does not divide what came from one seed"
        if row["round"] == 1:
            assert row["evolved_from"] == row["seed"]
        else:
            before = by_digest[row["evolved_from"]]
            assert (before["round"], before["seed"]) == (row["round"] - 1, row["seed"])
    assert len({row["operation"] for row in rows}) > 2
    digests = {row["operation"]: row["prompt_digest"] for row in rows}
    assert len({*digests.values()}) == len(digests)


def test_an_operation_depends_on_seed_and_round_alone(synth: Synth) -> None:
    with endpoint(scripted) as asked:
        synth.run("evol-instruct", asked.url, "--judge", f"{asked.url}#judge")
        before = {row["seed"]: row["operation"] for row in synth.rows}
        lines = synth.seeds.read_text().splitlines(keepends=True)
        synth.seeds.write_text("".join(lines[4:2:-1]))
        told = synth.run("evol-instruct", asked.url, "--judge", f"{asked.url}#judge", "--force")
    assert told["asked"] == 0, "fewer seeds, in another order, ask nothing new"
    assert all(before[row["seed"]] == row["operation"] for row in synth.rows)


def test_what_failed_to_evolve_is_eliminated_and_tried_again(synth: Synth) -> None:
    """One failure of each kind in the first round; the seed is what the second one starts from."""
    starts: dict[str, list[str]] = {}

    def odd(body: dict[str, Any]) -> Reply:
        text = str(body["messages"][-1]["content"])
        name = name_of(text)
        status, said, headers = scripted(body)
        if evolves(body):
            question = shown(body, "QUESTION")
            first = not starts.get(name)
            starts.setdefault(name, []).append(question)
            if first and name == "amber":
                return 200, completion("The rewritten question: amber who?"), {}
            if first and name == "basil":
                return 200, completion(question), {}
            if first and name == "cedar":
                return 200, completion("cedar cut cut c", finish="length"), {}
        elif "two questions" in system(body):
            if name == "dahlia" and len(starts[name]) == 1:
                return 200, completion("They are much the same.\nVerdict: equal"), {}
        elif name == "ember" and len(starts[name]) == 1:
            return 200, completion("I am sorry, but I cannot say that."), {}
        elif name == "fjord" and len(starts[name]) == 1:
            return 200, completion("It is, and we have it!"), {}
        return status, said, headers

    with endpoint(odd) as asked:
        told = synth.run("evol-instruct", asked.url, "--rounds", "2")
    # Without a judge the writer is asked whether there is a gain; it says an answer, no verdict.
    assert told["kept"] == 0
    starts.clear()
    with endpoint(odd) as asked:
        told = synth.run(
            "evol-instruct", asked.url, "--rounds", "2", "--judge", f"{asked.url}#judge"
        )
    assert told["left_out"] == {
        "cut": 1, "empty": 1, "copied": 1, "novelty": 1, "against": 0, "equal": 1, "refused": 1,
        "verifier": 0, "judge": 0,
    }  # fmt: skip
    assert told["kept"] == 6
    assert all(row["round"] == 2 and row["evolved_from"] == row["seed"] for row in synth.rows)
    assert all(first == second for first, second in starts.values())


@pytest.mark.parametrize("valid", [True, False])
def test_a_verifier_of_columns_reads_the_seeds_own(synth: Synth, valid: bool) -> None:
    schema = {"type": "object", "required": ["lamp"]}
    synth.write([chat("Who lights amber? As JSON.", '{"lamp": 1}', schema=schema)])

    def as_json(body: dict[str, Any]) -> Reply:
        if body["model"] == "writer" and not evolves(body):
            return 200, completion(json.dumps({"lamp" if valid else "light": 3})), {}
        return scripted(body)

    with endpoint(as_json) as asked:
        told = synth.run(
            "evol-instruct", asked.url, "--verifier", "json_schema", "--judge", f"{asked.url}#judge"
        )
    assert (told["kept"], told["left_out"]["verifier"]) == ((1, 0) if valid else (0, 1))
    assert sum(body["model"] == "writer" for body in asked.bodies) == 2, "none is asked again"
    if valid:
        assert synth.rows[0]["schema"] == schema
