"""Alarms: what is outside its range, for how long, and that each rings once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from adapterworks.builders.objectives.alarms import AlarmTable, Watch

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
    """10, 20, 30, 20, 20 tokens: 20 in the mean; longer ones among them are what is grown from."""
    first: list[dict[str, float]] = [{"length": value} for value in (10.0, 20.0, 30.0, 20.0, 20.0)]
    assert rung([*first, {"length": 60.0}], patience=1) == []
    assert rung([*first, {"length": 60.5}], patience=1) == [("length_growth", 6)]
    assert rung([{"length": 900.0}] * 5 + [{"length": 1.0}] * 9, patience=1) == []
    told = [*first, {"length": 30.0}]
    assert rung(told, patience=1, length_growth=1.4) == [("length_growth", 6)]


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
