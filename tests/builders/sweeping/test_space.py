"""What is to be varied, as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapterworks.builders.sweeping.space import Choices, Span, parse_dimension, parse_space, size
from adapterworks.manifests.errors import InvalidInput


class Trial:
    """Answers as optuna's trial does, with what it is told; keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, ()

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        self.asked = (name, tuple(choices))
        return str(self.answer)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked = (name, low, high, log)
        return float(self.answer)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.asked = (name, low, high, log)
        return int(self.answer)


def test_choices_are_drawn_as_they_are_written() -> None:
    one = parse_dimension("method.rank=8, 16,32")
    assert one == Choices("method.rank", ("8", "16", "32"))
    trial = Trial("16")
    assert one.draw(trial) == "16"
    assert trial.asked == ("method.rank", ("8", "16", "32"))


@pytest.mark.parametrize(
    ("text", "span", "log"),
    [
        ("train.learning_rate=1e-5..1e-3", Span("train.learning_rate", 1e-5, 1e-3, False), True),
        ("train.learning_rate=1e-5..1e-4", Span("train.learning_rate", 1e-5, 1e-4, False), True),
        ("train.learning_rate=2e-5..1e-4", Span("train.learning_rate", 2e-5, 1e-4, False), False),
        ("method.dropout=0..0.2", Span("method.dropout", 0.0, 0.2, False), False),
        ("train.epochs=1..4", Span("train.epochs", 1.0, 4.0, True), False),
        ("train.epochs=1..4.0", Span("train.epochs", 1.0, 4.0, False), False),
        ("method.rank=1..64", Span("method.rank", 1.0, 64.0, True), True),
    ],
)
def test_ranges(text: str, span: Span, log: bool) -> None:
    one = parse_dimension(text)
    assert one == span
    trial = Trial(span.low)
    one.draw(trial)
    assert trial.asked == (span.key, span.low, span.high, log)


@pytest.mark.parametrize(
    ("answer", "value"), [(0.000123456, "0.000123"), (1e-5, "1e-05"), (9.99999e-4, "0.001")]
)
def test_a_number_has_three_digits_and_stays_within(answer: float, value: str) -> None:
    assert parse_dimension("train.learning_rate=1e-5..1e-3").draw(Trial(answer)) == value


def test_rounding_leaves_no_range() -> None:
    one = Span("a.b", 0.12345, 0.12349, whole=False)
    assert one.draw(Trial(0.12346)) == "0.12345"


@pytest.mark.parametrize(
    "text",
    [
        "rank=8,16", "method.rank", "method.rank=8", "method.rank=8,,16", "method.rank=8..x",
        "method.rank=16..8", "method.rank=8..8", "method.rank=8,8", "method.rank=nan..1",
        "method.rank=0..inf", "=1,2",
    ],
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is nothing to vary|is no range|has a value twice"):
        parse_dimension(text)


def test_a_space_has_each_key_once() -> None:
    with pytest.raises(InvalidInput, match="a key is varied twice"):
        parse_space(["method.rank=8,16", "method.rank=32,64"])
    with pytest.raises(InvalidInput, match="nothing is to be varied"):
        parse_space([])


def test_how_large_a_space_is() -> None:
    space = parse_space(["method.rank=8,16,32", "train.epochs=1..4"])
    assert size(space) == 12
    assert size([*space, parse_dimension("method.dropout=0..0.5")]) == float("inf")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("data.train=../a.jsonl,../b.jsonl", ("../a.jsonl", "../b.jsonl")),
        ('method.targets=["q"],["q","v"]', ('["q"]', '["q","v"]')),
        ('data.train="a,b.jsonl","c"', ('"a,b.jsonl"', '"c"')),
        ("data.mix={ a = 1, b = 2 },{}", ("{ a = 1, b = 2 }", "{}")),
    ],
)
def test_choices_have_dots_and_commas_of_their_own(text: str, values: tuple[str, ...]) -> None:
    found = parse_dimension(text)
    assert isinstance(found, Choices)
    assert found.values == values
