"""Patterns and formats: what an answer looks like, and what rows lack."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.manifests.errors import InvalidInput


@pytest.mark.parametrize(
    ("pattern", "answer", "score"),
    [
        (r"^[A-Z]\d{2}$", "R50", 1.0),
        (r"^[A-Z]\d{2}$", " R50\n", 1.0),
        (r"^[A-Z]\d{2}$", "It is R50", 0.0),
        (r"[A-Z]\d{2}", "It is R50", 1.0),
        (r"(?i)yes", "YES", 1.0),
        (r"yes", "", 0.0),
    ],
)
def test_a_pattern_is_looked_for_in_the_answer(pattern: str, answer: str, score: float) -> None:
    assert metric("regex").score(answer, chat("q", "a", regex=pattern)) == score


def test_a_pattern_that_never_ends_is_given_up() -> None:
    began = time.monotonic()
    row = chat("q", "a", regex=r"^(a|a|a|a|a|aa)+\Z(?<=b)")
    assert metric("regex").score("a" * 5000 + "c", row) == 0.0
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("format_", "right", "wrong"),
    [
        ("json", '{"a": [1, null]}', "{'a': 1}"),
        ("json", "```json\n[1]\n```", "```json\n[1\n```"),
        ("jsonl", '{"a": 1}\n\n[2]\n', '{"a": 1}\nnone'),
        ("xml", "<a><b/>x</a>", "<a><b></a>"),
        ("xml", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        ("yaml", "a: 1\nb: [x, y]", "a: [1"),
        ("yaml", "- a\n- b", "A sentence, and no more."),
        ("toml", "a = 1\n[b]\nc = 'd'", "a = "),
        ("csv", "a,b\n1,2\n3,4", "a,b\n1,2,3"),
        ("csv", 'a,b\n"x, y",2', "a sentence"),
        ("python", "def f():\n    return 1", "def f() return 1"),
        ("python", "```python\nx = 1\n```", ""),
    ],
)
def test_an_answer_is_read_as_the_rows_format(format_: str, right: str, wrong: str) -> None:
    row = chat("q", "a", format=format_)
    assert metric("format_valid").score(right, row) == 1.0
    assert metric("format_valid").score(wrong, row) == 0.0
    assert metric("format_valid").score("", row) == 0.0


def test_what_would_grow_without_bounds_is_not_expanded() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    began = time.monotonic()
    assert metric("format_valid").score(bomb, chat("q", "a", format="yaml")) == 1.0
    assert metric("format_valid").score("[" * 100_000, chat("q", "a", format="json")) == 0.0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("name", "column", "odd"),
    [
        ("regex", "regex", "("),
        ("regex", "regex", None),
        ("regex", "regex", 3),
        ("format_valid", "format", "word"),
        ("format_valid", "format", None),
        ("api_valid", "api", "{}"),
        ("api_valid", "api", {"f": "x, y"}),
        ("api_valid", "api", None),
    ],
)
def test_a_row_without_its_column_is_refused_before(name: str, column: str, odd: Any) -> None:
    require = metric(name).require
    assert require is not None
    with pytest.raises(InvalidInput, match=f"row 7 .*column `{column}`"):
        require([chat("q", "f(1)", row=7, **{column: odd})])
