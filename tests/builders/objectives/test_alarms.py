"""Alarms: what is outside its range, for how long, and that each rings once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from adapterworks.builders.objectives.alarms import AlarmTable, Watch
from adapterworks.builders.objectives.max_reward import max_reward
from adapterworks.builders.objectives.policy_gradient import RolloutTable
from adapterworks.manifests.objective import objective_table

HEALTHY = {"kl": 0.3, "entropy": 0.2, "length": 40.0}


def rung(told: list[dict[str, Any]], **settings: Any) -> list[tuple[str, int]]:
    """What rings, and at which step."""
    table, watch = AlarmTable(**settings), Watch()
    return [
        (alarm.name, step)
        for step, one in enumerate(told, 1)
        for alarm in watch.look(table, step, HEALTHY | one)
    ]


def test_a_healthy_training_rings_nothing() -> None:
    assert rung([{}] * 40) == []


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("kl", {"kl": 2.0}, {"kl": 2.001}),
        ("kl", {"kl": 0.0}, {"kl": float("nan")}),
        ("entropy", {"entropy": 0.01}, {"entropy": 0.0099}),
        ("entropy", {"entropy": 9.0}, {"entropy": float("nan")}),
        ("length_growth", {"length": 120.0}, {"length": 120.1}),
    ],
)
def test_what_is_outside_its_range_rings_when_it_stays(
    name: str, inside: dict[str, float], outside: dict[str, float]
) -> None:
    """Beginning at step 8: at the fifth step in a row, and not again while it stays."""
    before = [{}] * 7
    assert rung([*before, *[inside] * 9]) == []
    assert rung([*before, *[outside] * 4, {}, *[outside] * 4]) == [], "not in a row"
    assert rung([*before, *[outside] * 9]) == [(name, 12)]
    assert rung([*before, *[outside] * 2], patience=2) == [(name, 9)]
    again = [*before, *[outside] * 5, {}, *[outside] * 5]
    assert rung(again) == [(name, 12), (name, 18)], "it was inside in between"


def test_length_grows_from_the_first_five_steps() -> None:
    """100, 200, 300, 200, 200 tokens: 200 in the mean; longer ones are what is grown from."""
    lengths = (100.0, 200.0, 300.0, 200.0, 200.0)
    first: list[dict[str, float]] = [{"length": value} for value in lengths]
    assert rung([*first, {"length": 600.0}], patience=1) == []
    assert rung([*first, {"length": 605.0}], patience=1) == [("length_growth", 6)]
    assert rung([{"length": 900.0}] * 5 + [{"length": 1.0}] * 9, patience=1) == []
    told = [*first, {"length": 300.0}]
    assert rung(told, patience=1, length_growth=1.4) == [("length_growth", 6)]


def test_an_answer_of_one_token_that_becomes_a_sentence_is_no_alarm() -> None:
    first = [{"length": 1.0}] * 5
    assert rung([*first, {"length": 96.0}], patience=1) == []
    assert rung([*first, {"length": 97.0}], patience=1) == [("length_growth", 6)]


def of_rewards(rewards: list[float], highest: float | None) -> list[int]:
    """The steps at which a policy of one answer rings, by each step's mean reward."""
    table, watch = AlarmTable(), Watch()
    told = ({"reward": reward, "reward_deviation": 0.0, "entropy": 0.001} for reward in rewards)
    return [a.step for at, one in enumerate(told, 1) for a in watch.look(table, at, one, highest)]


@pytest.mark.parametrize(
    ("rewards", "highest", "steps"),
    [
        ([1.0] * 10, 1.0, []),
        ([0.95] * 10, 1.0, []),
        ([0.94] * 10, 1.0, [5]),
        ([1.0] * 10, None, []),
        ([7.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0], None, [6]),
        ([-0.1] * 10, None, []),
        ([-0.1] * 10, 0.0, [5]),
    ],
)
def test_one_answer_that_is_the_right_one_is_no_alarm(
    rewards: list[float], highest: float | None, steps: list[int]
) -> None:
    """A policy that has learnt its task has little left to be uncertain of; the best is what can be
    had, or what was had."""
    assert of_rewards(rewards, highest) == steps


SCORE = {
    "type": "score_model",
    "name": "s",
    "model": "judge",
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    "range": [1.0, 5.0],
}
CHECK = {"type": "string_check", "name": "c", "operation": "eq", "input": "a", "reference": "a"}
JUDGE = {"endpoint": "http://localhost/v1#judge", "weight": 0.5}


@pytest.mark.parametrize(
    ("table", "highest"),
    [
        ({"rewards": ["exact_match", "rouge_l"]}, 2.0),
        ({"rewards": ["exact_match", "rouge_l"], "reward_weights": [3.0, -1.0]}, 3.0),
        ({"rewards": ["exact_match"], "graders": [CHECK]}, 2.0),
        ({"graders": [SCORE], "judge": {**JUDGE, "kind": "graders"}}, 5.0),
        ({"rewards": ["exact_match"], "judge": {**JUDGE, "kind": "pairwise"}}, 1.5),
        ({"rewards": ["exact_match"], "reward_release": "r@1"}, None),
        (
            {
                "graders": [
                    {
                        "type": "multi",
                        "name": "m",
                        "graders": {"c": CHECK},
                        "calculate_output": "7 * c",
                    }
                ]
            },
            None,
        ),
        (
            {
                "graders": [
                    {"type": "python", "name": "p", "source": "def grade(sample, item): return 9"}
                ]
            },
            None,
        ),
    ],
)
def test_the_most_that_an_answer_is_worth(table: dict[str, Any], highest: float | None) -> None:
    given = json.dumps({"kind": "grpo", **table})
    settings = objective_table("grpo").model_validate_json(given)
    assert isinstance(settings, RolloutTable)
    assert max_reward(settings) == highest


def test_a_number_that_is_not_told_is_neither_in_nor_outside() -> None:
    """A step that learns nothing tells no divergence: those around it are in a row all the same."""
    table, watch = AlarmTable(patience=3), Watch()
    found = [
        [alarm.name for alarm in watch.look(table, step, {"kl": 5.0} if step != 2 else {})]
        for step in range(1, 5)
    ]
    assert found == [[], [], [], ["kl"]]


def test_what_it_remembers_is_json_and_goes_on() -> None:
    table, whole, part = AlarmTable(), Watch(), Watch()
    told = [HEALTHY] * 6 + [HEALTHY | {"length": 200.0, "kl": 3.0}] * 5
    expected = [whole.look(table, step, one) for step, one in enumerate(told, 1)]
    found = []
    for step, one in enumerate(told, 1):
        part = Watch(**json.loads(json.dumps(asdict(part))))
        found.append(part.look(table, step, one))
    assert found == expected
    assert [alarm.name for alarm in expected[-1]] == ["kl", "length_growth"]
    words = [alarm.message for alarm in expected[-1]]
    assert words == [
        "the policy is 3 nats a token from its reference (more than 2)",
        "answers have 200 tokens, 5.0 × the 40 of the first steps (more than 3 ×)",
    ]


def test_one_that_stopped_a_training_rings_again_at_once() -> None:
    table, watch = AlarmTable(patience=2), Watch()
    assert not watch.look(table, 1, {"kl": 9.0})
    (alarm,) = watch.look(table, 2, {"kl": 9.0})
    watch.forgive(alarm.name)
    assert [one.step for one in watch.look(table, 3, {"kl": 9.0})] == [3]
    assert watch.look(AlarmTable(kl=10.0, patience=2), 4, {"kl": 9.0}) == []


def test_one_that_has_become_less_patient_rings() -> None:
    """Resumed with a lower `patience` than the steps that it was outside for already; once."""
    watch = Watch()
    for step in range(1, 8):
        assert watch.look(AlarmTable(patience=20), step, {"kl": 9.0}) == []
    found = [watch.look(AlarmTable(patience=3), step, {"kl": 9.0}) for step in (8, 9)]
    assert [[alarm.step for alarm in one] for one in found] == [[8], []]


def test_what_was_seen_while_alarms_were_off_counts() -> None:
    """Lengths grow from the training's first steps, and not from those after it was switched on."""
    off, watch = AlarmTable(action="off", patience=2), Watch()
    for step in range(1, 6):
        assert watch.look(off, step, {"length": 40.0, "kl": 9.0}) == []
    assert watch.look(off, 6, {"length": 200.0, "kl": 0.1}) == []
    found = watch.look(AlarmTable(patience=2), 7, {"length": 200.0, "kl": 9.0})
    assert [alarm.name for alarm in found] == ["length_growth"]
