"""Self-Instruct over a real socket: what is shown, what is new, what a kill costs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.manifests.errors import InvalidInput
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.synthesis.conftest import NAMES, Synth, shown, system

Reply = tuple[int, Any, dict[str, str]]
ADAPTERS = Path(sys.executable).with_name("adapters")


def letters(body: dict[str, Any], count: int) -> list[str]:
    """Words that depend on what was asked, and on nothing else."""
    told = json.dumps([body["messages"], body.get("seed")]).encode()
    digest = hashlib.sha256(told).hexdigest()
    return [digest[at * 4 : at * 4 + 4] for at in range(count)]


def invents(body: dict[str, Any]) -> bool:
    return "You write questions for training" in system(body)


def asked_last(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def scripted(body: dict[str, Any]) -> Reply:
    """Two new questions a round; the answer to a question is in its words; the judge gives five."""
    if body["model"] == "judge":
        return 200, completion("Good.\nScore: 5"), {}
    if invents(body):
        one, two, *_ = letters(body, 2)
        texts = [f"{one} {one} {one} who {one}?", f"{two} {two} {two} who {two}?"]
        return 200, completion(f"Here: {json.dumps(texts)}"), {}
    return 200, completion(f"The {asked_last(body).split()[0]} porter."), {}


def test_every_row_says_how_it_came_to_be(synth: Synth) -> None:
    with endpoint(scripted) as asked:
        told = synth.run(
            "self-instruct", asked.url, "--rows", "12", "--judge", f"{asked.url}#judge"
        )
    assert (told["kept"], told["rounds"], told["spent"], told["idle"]) == (12, 8, False, False)
    host = asked.url.removeprefix("http://").removesuffix("/v1")
    seeds = {chat(f"Who lights the {n} {at} lamp of {n}?", f"The {n} porter.").digest
             for at, n in enumerate(NAMES[:6])}  # fmt: skip
    for row in synth.rows:
        question, answer = (turn["content"] for turn in row["messages"])
        assert answer == f"The {question.split()[0]} porter."
        assert row["strategy"] == "self-instruct"
        assert {*row["seeds"]} <= seeds
        assert (row["model"], row["judge"]) == (f"writer at {host}", f"judge at {host}")
        assert row["judge_score"] == 5
        assert row["prompt_digest"].startswith("sha256:")
    # The first rounds know seeds alone; later ones see two of what was kept.
    rounds = [body for body in asked.bodies if invents(body)]
    made = [
        sum(f"### QUESTION {at}\nWho lights" not in asked_last(body) for at in range(1, 7))
        for body in rounds
    ]
    assert made[:4] == [0] * 4
    assert {str(asked_last(body)).count("### QUESTION") for body in rounds[4:]} == {8}
    assert rounds[0]["temperature"] == 0.7
    # Answers follow three seeds as examples, and are the likeliest.
    answers = [b for b in asked.bodies if b["model"] == "writer" and not invents(b)]
    assert all(len(body["messages"]) == 7 and body["temperature"] == 0 for body in answers)


def test_what_is_old_unfit_or_a_test_question_is_left_out(synth: Synth) -> None:
    tests = synth.folder / "tests.jsonl"
    secret = "how many lamps does the night watch of the harbour light in winter?"
    tests.write_text(json.dumps({"messages": chat(secret, "Nine.").messages}) + "\n")

    def odd(body: dict[str, Any]) -> Reply:
        if body["model"] == "judge":
            said = "Score: 2" if "bad" in shown(body, "QUESTION") else "Score: 4"
            return 200, completion(said), {}
        if invents(body):
            (one,) = letters(body, 1)
            texts = [
                "Who lights the amber 0 lamp of amber?",  # a seed
                f"{one} {one} {one} who {one}?",
                f"{one} {one} {one} who {one}?",  # written before
                "Why?",
                f"{one} what is in the picture {one}?",
                f"Tell me: {secret}",
                f"{one} bad {one} bad {one} bad?",
            ]
            return 200, completion(json.dumps(texts)), {}
        if "bad" not in asked_last(body) and body["temperature"]:
            return 200, completion("", finish="stop"), {}
        return 200, completion("The porter."), {}

    with endpoint(odd) as asked:
        told = synth.run(
            "self-instruct", asked.url, "--rows", "3", "--judge", f"{asked.url}#judge",
            "--against", str(tests), "--max-tokens", "60000",
        )  # fmt: skip
    assert told["kept"] == 3
    out = told["left_out"]
    # Of four rounds; a test question that was written before is an old one.
    assert (out["unfit"], out["against"], out["judge"]) == (8, 1, 4)
    assert out["novelty"] == 4 + 4 + 3
    assert not any(secret in json.dumps(row) for row in synth.rows)


def test_a_verifier_is_asked_before_the_judge(synth: Synth) -> None:
    """A second answer has to agree on the number; what does not is not judged."""
    sure: set[str] = set()

    def numbers(body: dict[str, Any]) -> Reply:
        if body["model"] == "judge":
            assert shown(body, "QUESTION") in sure
            return 200, completion("Score: 5"), {}
        if invents(body):
            return scripted(body)
        question, again = asked_last(body), body["temperature"] > 0
        is_sure = int(question[:2], 16) % 2 == 0
        if is_sure:
            sure.add(question)
        said = "It is 7." if not again else f"So: {7 if is_sure else 8}"
        return 200, completion(said), {}

    with endpoint(numbers) as asked:
        told = synth.run(
            "self-instruct", asked.url, "--rows", "6", "--verifier", "exact_number",
            "--judge", f"{asked.url}#judge",
        )  # fmt: skip
    assert told["left_out"]["verifier"] > 0
    assert len(synth.rows) == 6
    for row in synth.rows:
        assert row["messages"][0]["content"] in sure
        assert row["messages"][1]["content"] == "It is 7.", "the first answer is the row's"
        assert (row["verifier"], row["verifier_score"]) == ("exact_number", 1.0)


def test_seeds_that_give_nothing_new_end_it(synth: Synth) -> None:
    def repeats(body: dict[str, Any]) -> Reply:
        return 200, completion('["Who lights the amber 0 lamp of amber?"]'), {}

    with endpoint(repeats) as asked:
        told = synth.run("self-instruct", asked.url)
    assert (told["kept"], told["idle"], told["rounds"]) == (0, True, 12)
    assert len(asked.bodies) == 12


def test_a_preview_says_what_the_whole_will_cost_and_is_not_paid_for_again(synth: Synth) -> None:
    priced = ("--price-in", "2", "--price-out", "10", "--rows", "40", "--max-cost", "9")
    with endpoint(scripted) as asked:
        told = synth.run("self-instruct", asked.url, "--preview", *priced)
        assert len(told["rows"]) == 10
        before = len(asked.bodies)
        # 8 rounds of 2 rows, and 16 answers: 24 requests of 7 + 3 tokens.
        assert (told["asked"], told["tokens"]) == (before, before * 10) == (24, 240)
        cost = 24 * (7 * 2 + 3 * 10) / 1e6
        assert told["cost"] == told["sent_cost"] == pytest.approx(cost)
        assert told["estimate"] == {"rows": 40, "tokens": 600, "cost": pytest.approx(cost * 2.5)}
        assert not synth.out.exists()
        told = synth.run("self-instruct", asked.url, *priced)
    assert told["kept"] == 40
    assert told["asked"] == len(asked.bodies) - before
    assert told["sent_cost"] < told["cost"]
    assert len({json.dumps(body, sort_keys=True) for body in asked.bodies}) == len(asked.bodies)


def test_a_kill_and_a_second_run_pay_for_no_answer_twice(synth: Synth) -> None:
    """Killed by signal 9 while a request is under way, which alone is sent again."""
    answered: list[str] = []
    started: list[subprocess.Popen[bytes]] = []

    def kills(body: dict[str, Any]) -> Reply:
        if len(answered) == 21 and started:
            os.kill(started.pop().pid, signal.SIGKILL)
            return 200, completion("too late"), {}
        answered.append(json.dumps(body, sort_keys=True))
        return scripted(body)

    with endpoint(kills) as asked:
        more = ("--rows", "12", "--parallel", "1", "--judge", f"{asked.url}#judge")
        command = [str(ADAPTERS), *synth.arguments("self-instruct", asked.url, *more)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=synth.folder)
        started.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
        assert not synth.out.exists()
        told = synth.run("self-instruct", asked.url, *more)
        killed = synth.rows
    assert len(answered) == len(set(answered))
    assert len(asked.bodies) == len(answered) + 1  # the one that the kill cut off
    assert told["asked"] == len(answered) - 21
    with endpoint(scripted) as other:
        (Path(os.environ["ADAPTERS_HOME"]) / "cache" / "endpoints" / "synth.jsonl").unlink()
        synth.out.unlink()
        synth.run("self-instruct", other.url, "--rows", "12", "--judge", f"{other.url}#judge")
    whole = synth.rows
    for row in (*killed, *whole):
        del row["model"], row["judge"]  # another port
    assert killed == whole, "and ends as a run that was not killed, whatever --parallel"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--each", "2"), "`--each` is not of `self-instruct`"),
        (("--max-cost", "1"), "no prices are known"),
        (("--price-in", "1"), "`--price-in` and `--price-out`, one is missing"),
        (("--verifier", "bleu"), "does not say of one answer"),
        (("--judge-price-in", "1"), "`--judge-price-in` is one of `--judge`"),
        (
            ("--price-in", "1", "--price-out", "1", "--judge", "http://127.0.0.1:1/v1#j"),
            "of two models, one has a price",
        ),
        (("--verifier", "json_schema"), "no JSON Schema in its column `schema`"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    synth: Synth, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        synth.run("self-instruct", "http://127.0.0.1:1/v1", *arguments)


def test_rows_that_nothing_can_be_written_from_are_named(synth: Synth) -> None:
    turns = chat("one question?", "an answer").messages
    rows = [{"messages": turns}, {"messages": [*turns, *turns]}]
    synth.seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InvalidInput, match="row 2: it is no single question"):
        synth.run("self-instruct", "http://127.0.0.1:1/v1")
