"""What a judge's words come to: by hand, in both orders, several times, and with no opinion."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter

from adapterworks.builders.data.rows import chat
from adapterworks.builders.endpoints.chat import Answer
from adapterworks.builders.objectives.graders import NoColumn, columns_of
from adapterworks.builders.rewards.abstaining import agreed, completed
from adapterworks.builders.rewards.external import ExternalRewards
from adapterworks.builders.rewards.pairwise import pairs, read_pairs
from adapterworks.builders.rewards.pointwise import grading, read_score, read_scores, scoring
from adapterworks.manifests.graders import ScoreModel
from adapterworks.manifests.judging import RewardJudge

ROW = chat("What is it?", "the own answer", row=3, topic="fever")


def said(*texts: str) -> list[Answer]:
    return [Answer(text, False, 1, 1) for text in texts]


def verdicts(*letters: str) -> list[Answer]:
    return said(*(f"Because.\nVerdict: {letter}" for letter in letters))


def test_a_group_is_a_ring_of_pairs_in_both_orders() -> None:
    asked = pairs(ROW, ["one", "two", "three"])
    assert asked.places == ((0, 1), (1, 2), (2, 0))
    assert len(asked.chats) == 6
    first, second = (str(chat.messages[-1]["content"]) for chat in asked.chats[:2])
    assert first.index("one") < first.index("two")
    assert second.index("two") < second.index("one")
    assert "the own answer" not in first, "a sampled answer is judged, not held to the row's"
    assert "What is it?" in first


def test_a_share_of_pairs_won_is_the_reward() -> None:
    """one beats two and three in both orders; two and three are a tie."""
    asked = pairs(ROW, ["one", "two", "three"])
    found, silent = read_pairs(asked, verdicts("A", "B", "tie", "tie", "B", "A"))
    assert (found, silent) == ([1.0, 0.25, 0.25], 0)


def test_a_verdict_that_follows_the_order_says_nothing() -> None:
    """two's pairs are both decided by the order: it has the mean of what the others got."""
    asked = pairs(ROW, ["one", "two", "three"])
    found, silent = read_pairs(asked, verdicts("A", "A", "B", "B", "B", "A"))
    assert (found, silent) == ([1.0, 0.5, 0.0], 2)
    found, silent = read_pairs(asked, said(*["no verdict"] * 6))
    assert (found, silent) == ([0.5, 0.5, 0.5], 3)


def test_half_a_contradiction_is_one() -> None:
    asked = pairs(ROW, ["one", "two"])
    assert asked.places == ((0, 1),)
    assert read_pairs(asked, verdicts("A", "tie")) == ([0.5, 0.5], 1)


def test_equal_answers_are_a_tie_without_a_judge() -> None:
    asked = pairs(ROW, ["same", "same", "better"])
    assert asked.places == ((1, 2), (2, 0))
    assert asked.equal == ((0, 1),)
    found, _ = read_pairs(asked, verdicts("B", "A", "A", "B"))
    assert found == [0.25, 0.25, 1.0]


def test_a_single_answer_stands_beside_the_rows_own() -> None:
    asked = pairs(ROW, ["sampled"])
    assert "the own answer" in str(asked.chats[0].messages[-1]["content"])
    assert read_pairs(asked, verdicts("A", "B")) == ([1.0], 0)
    assert read_pairs(asked, verdicts("B", "A")) == ([0.0], 0)
    assert pairs(ROW, ["the own answer"]).chats == ()


def test_who_contradicts_himself_has_no_opinion() -> None:
    assert agreed([0.2, 0.4, 0.6], 0, 1) == pytest.approx(0.4)
    assert agreed([0.2, None, None], 0, 1) is None, "fewer than half"
    assert agreed([0.2, None], 0, 1) == 0.2, "half"
    assert agreed([0.0, 0.5], 0, 1) == 0.25, "half of the scale apart"
    assert agreed([0.0, 0.51], 0, 1) is None
    assert agreed([], 0, 1) is None
    assert completed([1.0, None, 0.0, 0.5], 9.0) == [1.0, 0.5, 0.0, 0.5]
    assert completed([None, None], 0.25) == [0.25, 0.25]


class Unreadable:
    """A judge that says nothing that can be read."""

    paid = 0

    def __init__(self, **table: Any) -> None:
        self.table = RewardJudge(endpoint="http://localhost/v1#judge", **table)

    def ask(self, chats: Sequence[Any], *, model: str | None = None) -> list[Answer]:
        return said(*["?"] * len(chats))


@pytest.mark.parametrize("kind", ["pairwise", "pointwise"])
def test_a_single_answer_without_a_verdict_is_worth_the_middle(kind: str) -> None:
    """As a validation's: it is neither the best there is nor the worst."""
    judge: Any = Unreadable(kind=kind, weight=0.5)
    assert ExternalRewards([], judge).score([ROW], [["sampled"]]).rewards == [[0.25]]


def test_a_score_without_a_verdict_is_the_middle_of_its_range() -> None:
    table = {
        "type": "score_model",
        "name": "helpful",
        "model": "judge",
        "input": [{"role": "user", "content": "{{sample.output_text}}"}],
        "range": [-1, 5],
    }
    grader = TypeAdapter(ScoreModel).validate_json(json.dumps(table))
    judge: Any = Unreadable(kind="graders")
    assert ExternalRewards([grader], judge).score([ROW], [["sampled"]]).grades == [[[{"": 2.0}]]]


def test_asks_of_a_score_differ_in_their_seed_alone() -> None:
    asked = scoring(ROW, "an answer", 3)
    assert [chat.seed for chat in asked] == [0, 1, 2]
    assert {chat.temperature for chat in asked} == {1.0}
    assert len({str(chat.messages) for chat in asked}) == 1
    assert read_scores(said("Score: 5", "Score: 4", "?"), 1, 5) == 4.5
    assert read_scores(said("Score: 5", "?", "?"), 1, 5) is None


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("It is fine.\nScore: 0.75", 0.75),
        ("Score: 0.2\nbut then\n**Score: 1**", 1.0),
        (" 0.5 ", 0.5),
        ("Score: 1.5", None),
        ("Score: -0.5", None),
        ("the score is 1", None),
        ("Score: one", None),
        ("", None),
        ("1 of 2", None),
    ],
)
def test_a_score_is_on_the_scale_or_none(text: str, score: float | None) -> None:
    assert read_score(text, 0, 1) == score


def test_a_score_out_of_the_scales_end_is_that_score() -> None:
    assert read_score("Score: 4/5", 1, 5) == 4.0
    assert read_score("**Score:** 4 out of 5.", 1, 5) == 4.0
    assert read_score("Score: 8/10", 1, 5) is None
    assert read_score("**Score:**\n\n3\n", 1, 5) == 3.0


def test_a_long_answer_is_read_at_its_end() -> None:
    began = time.monotonic()
    assert read_score("Score: 4\n" + "\n" * 100_000, 1, 5) == 4.0
    assert read_score("\n" * 100_000 + "score" + "*" * 50_000, 1, 5) is None
    assert time.monotonic() - began < 20
    assert read_score("Score: 4\n" + "and so on.\n" * 1000, 1, 5) is None


def test_a_score_below_nought_is_read_as_one() -> None:
    assert read_score("Score: -0.5", -1, 1) == -0.5
    assert read_score("-1", -1, 1) == -1.0


def test_a_score_model_asks_what_its_templates_say() -> None:
    table: Any = {
        "type": "score_model",
        "name": "helpful",
        "model": "judge",
        "input": [
            {"role": "system", "content": "You judge answers on {{ item.topic }}."},
            {"role": "user", "content": "{{item.question}} → {{sample.output_text}}"},
        ],
        "range": [0, 10],
        "sampling_params": {"temperature": 0.5, "seed": 7, "max_completions_tokens": 99},
    }
    grader = TypeAdapter(ScoreModel).validate_json(json.dumps(table))
    first, second = grading(grader, "{{item.answer}}", columns_of(ROW), 2)
    assert first.messages[0]["content"] == "You judge answers on fever."
    words = "What is it? → {{item.answer}}\n\nEnd with a line that is exactly `Score: N`"
    assert str(first.messages[1]["content"]).startswith(words)
    assert str(first.messages[1]["content"]).endswith("a number from 0 to 10.")
    assert (first.seed, second.seed, first.temperature, first.max_tokens) == (7, 8, 0.5, 99)
    table["input"][0]["content"] = "{{item.nothing}}"
    other = TypeAdapter(ScoreModel).validate_json(json.dumps(table))
    with pytest.raises(NoColumn, match="no column `nothing`"):
        grading(other, "", columns_of(ROW), 1)
