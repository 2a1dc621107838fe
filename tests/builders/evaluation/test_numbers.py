"""The last number of a text, as people write them; and what has none is refused before."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.numbers import last_number
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 5.", "5"),
        (".5", "1/2"),
        ("0.50", "1/2"),
        ("Sec.5 and so on...", "5"),
        ("1,234.5", "2469/2"),
        ("1'234", "1234"),
        ("1\u202f234", "1234"),
        ("1,2345", "2345"),
        ("3,5", "5"),
        ("-5", "-5"),
        ("x = −5", "-5"),
        ("(–5)", "-5"),
        ("−$5", "-5"),
        ("$-5", "-5"),
        ("10-5", "5"),
        ("pages 3-5", "5"),
        ("3–5", "5"),
        ("10 - 5", "5"),
        ("1e5", "100000"),
        ("1.5E-3", "3/2000"),
        ("6.02 × 10^23", "602000000000000000000000"),
        ("2 \\times 10^{3}", "2000"),
        ("2^10", "1024"),
        ("10⁵", "100000"),
        ("4 x 10", "10"),
        ("3/4", "3/4"),
        ("-3/4", "-3/4"),
        ("1 3/4", "7/4"),
        ("3/4/2024", "2024"),
        ("\\frac{3}{4}", "3/4"),
        ("½", "1/2"),
        ("2½", "5/2"),
        ("٥", "5"),
        ("２", "2"),
        ("१२.५", "25/2"),
        ("٣٫٥", "7/2"),
        ("R50.9", "509/10"),
        ("1.2.3", "3"),
        ("the 2nd of 3", "3"),
    ],
)
def test_the_last_number_is_read_as_it_is_written(text: str, number: str) -> None:
    assert last_number(text) == Fraction(number)


@pytest.mark.parametrize(
    "text",
    ["", "none", "3/0", "1e99999", "9" * 5000, "²", "9" * 11 + "^1000", "0.99999999999^-999"],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert last_number(text) is None
    assert metric("exact_number").score(text, chat("q", "1")) == 0.0


def test_the_power_of_thousands_of_digits_is_none_at_once() -> None:
    """It took a minute in one call that nothing can end."""
    begun = time.thread_time()
    for base in ("9" * 1500, "0." + "9" * 300):
        assert last_number(f"{base}^1000") is None
    assert time.thread_time() - begun < 0.2
    assert last_number("1234567890^1000") == 1234567890**1000


def test_equal_numbers_are_equal_however_they_are_written() -> None:
    for one, other in ((".5", "1/2"), ("1e3", "1,000"), ("٥", "5"), ("−5", "-5"), ("5.0", "5")):
        assert metric("exact_number").score(one, chat("q", other)) == 1.0
    for one, other in ((".5", "5"), ("−5", "5"), ("10-5", "-5"), ("1e5", "5"), ("3/4", "4")):
        assert metric("exact_number").score(one, chat("q", other)) == 0.0


def test_a_reference_without_a_number_is_refused_before() -> None:
    """No answer could be right, and nothing would say why."""
    rows = [chat("q", "5", row=6), chat("q", "five", row=7)]
    table = EvaluateTable(metrics=("exact_number",))
    with pytest.raises(InvalidInput, match="row 7 has no number in its answer"):
        check_test_rows(None, rows, table, 64)  # type: ignore[arg-type]
    require = metric("exact_number").require
    assert require is not None
    require([chat("q", "<think>no</think>It is 5")])
