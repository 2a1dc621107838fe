"""Paraphrases over a real socket: the answer stays, and so does what is asked."""

from __future__ import annotations

import json
from typing import Any

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.rows import Row, chat
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.synthesis.conftest import Synth, shown, system

Reply = tuple[int, Any, dict[str, str]]
SEEDS = [
    chat("How long does a transfer of 200 euros to Norway take?", "payments", code="P"),
    chat("My bank card was swallowed by the machine", "cards", code="C"),
    chat("I forgot the password of my account", "access", code="A", group="people"),
]
OTHER = {
    "transfer": [
        "When do 200 euros that I transfer to Norway arrive?",
        "How long does a transfer of 300 euros to Norway take, please?",  # another number
        "How long does a transfer of 200 euros to Norway take?!",  # the same words
    ],
    "card": ["The machine at the corner has kept my card", "Please cook rice for tea"],
    "password": ["The transfer to Norway takes for ever", "What do I do, my password is lost"],
}


def scripted(body: dict[str, Any]) -> Reply:
    if body["model"] == "judge":
        same = "rice" not in shown(body, "QUESTION B") and "Norway" not in shown(body, "QUESTION B")
        same = same or "Norway" in shown(body, "QUESTION A")
        return 200, completion(f"Score: {5 if same else 1}"), {}
    if "other ways" in system(body):
        question = shown(body, "QUESTION")
        return 200, completion(json.dumps(next(OTHER[k] for k in OTHER if k in question))), {}
    return 200, completion("cards" if "card" in str(body["messages"]) else "none"), {}


def kept(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows]


def test_without_a_judge_the_nearest_seed_says_whether_the_meaning_stayed(synth: Synth) -> None:
    synth.write(SEEDS)
    with endpoint(scripted) as asked:
        told = synth.run("paraphrase", asked.url)
    assert kept(synth.rows) == [
        ("When do 200 euros that I transfer to Norway arrive?", "payments"),
        ("The machine at the corner has kept my card", "cards"),
        ("What do I do, my password is lost", "access"),
    ]
    out = told["left_out"]
    assert (out["numbers"], out["novelty"], out["meaning"], out["judge"]) == (1, 1, 2, 0)
    assert len(asked.bodies) == 3


def test_a_judge_says_so_where_there_is_one_and_columns_stay(synth: Synth) -> None:
    synth.write(SEEDS)
    with endpoint(scripted) as asked:
        told = synth.run("paraphrase", asked.url, "--judge", f"{asked.url}#judge")
    assert told["kept"] == 3
    out = told["left_out"]
    assert (out["numbers"], out["novelty"], out["meaning"], out["judge"]) == (1, 1, 0, 2)
    for row, seed in zip(synth.rows, SEEDS, strict=True):
        assert (row["strategy"], row["seed"]) == ("paraphrase", seed.digest)
        assert row["code"] == seed.meta["code"]
        assert row["judge_score"] == 5
    groups = [row["group"] for row in synth.rows]
    assert groups == [SEEDS[0].digest, SEEDS[1].digest, "people"]
    assert load_source(str(synth.out), "messages").rows[1].answer == "cards"


def test_a_verifier_has_the_writer_answer_the_paraphrase(synth: Synth) -> None:
    synth.write(SEEDS)
    with endpoint(scripted) as asked:
        told = synth.run("paraphrase", asked.url, "--verifier", "exact_match")
    assert [answer for _, answer in kept(synth.rows)] == ["cards"]
    assert told["left_out"]["verifier"] == 2


def test_what_stands_before_the_question_stays(synth: Synth) -> None:
    system_turn: Any = {"role": "system", "content": "You work in a bank."}
    synth.write([Row((system_turn, *SEEDS[1].messages))])
    with endpoint(scripted) as asked:
        synth.run("paraphrase", asked.url, "--each", "1")
    assert [turn["role"] for turn in synth.rows[0]["messages"]] == ["system", "user", "assistant"]
    assert synth.rows[0]["messages"][0] == system_turn


def test_what_is_nearer_to_a_seed_with_another_answer_is_left_out(synth: Synth) -> None:
    synth.write(SEEDS)
    with endpoint(scripted) as asked:
        synth.run("paraphrase", asked.url, "--likeness", "0")
    assert ("The transfer to Norway takes for ever", "access") not in kept(synth.rows)
