"""Whether a model says so when it cannot know: questions whose answer is not there, and those whose
answer is.

A row whose column `answerable` is false has no answer; answering it all the same is a
hallucination, whatever is said (SQuAD 2.0: Rajpurkar et al. 2018, arXiv:1806.03822). Both metrics
are read together: who never answers never hallucinates, and abstains from everything.

An answer abstains if it is empty, is the row's own way of saying so, or begins as such answers do
and does not say what is right;
that sees words and not what is meant, alike for every model that is compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.labels import label
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction
from adapterworks.manifests.errors import InvalidInput

_BEGINNING = 200  # characters
_SOURCE = r"(?:documentation|context|passages?|text|documents?|information|article|source)"
_ABSTAINS = re.compile(
    rf"""
    \b(?:i\ (?:do\ not|don't|cannot|can't|could\ not|couldn't)\ (?:know|tell|say|find|answer
        |determine)
      |i(?:'m|\ am)\ (?:not\ (?:sure|certain)|unable\ to\ (?:find|answer|determine|tell|say))
      |{_SOURCE}\ (?:given\ |provided\ |above\ )?(?:does\ not|doesn't|do\ not|don't)\ (?:say|mention
        |contain|state|specify|provide|include|tell|describe|answer)
      |(?:is|are|was)\ not\ (?:mentioned|stated|specified|given|provided|described|found|available
        |answerable)
      |(?:cannot|can't|can\ not)\ be\ (?:answered|determined|told|known|found|inferred)
      |not\ (?:mentioned|stated|specified|answerable|enough\ (?:information|context))
      |no\ (?:answer|information|mention)\b|unanswerable|unknown)
    |不知道|无法(?:回答|确定|得知|判断)|没有(?:提到|提及|说明|相关)|未(?:提到|提及|说明)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def abstains(answer: str, own: str = "", right: str = "") -> bool:
    """Whether an answer says that it has none.

    Args:
        own: how the row says so itself, if it does.
        right: the row's answer, if it has one: "The key is not found" may be it.
    """
    beginning = answer.strip()[:_BEGINNING].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if not beginning or (own and label(answer) == label(own)):
        return True
    if right and label(answer) == label(right):
        return False
    if right and _ABSTAINS.search(right) and label(right) in label(answer):
        return False
    return _ABSTAINS.search(beginning) is not None


def answerable(row: Row, number: int) -> bool:
    """What a row says of itself; one that says nothing is.

    Raises:
        InvalidInput: it says something else.
    """
    given = row.meta.get("answerable")
    if given is None or (isinstance(given, str) and not given.strip()):
        return True
    if isinstance(given, str) and given.strip().lower() in ("true", "false"):
        given = given.strip().lower() == "true"
    if not isinstance(given, bool):
        raise InvalidInput(
            f"row {row.number or number} says neither true nor false in its column `answerable`: "
            f"{given!r}",
            hint="write false where the question has no answer",
        )
    return given


def _counted(
    of: bool, wrong: Callable[[Prediction, Row], bool]
) -> Callable[[Sequence[Prediction], Sequence[Row]], Floats]:
    """[n, 2]: whether a row is wrong, and whether it counts: is answerable, or is not."""

    def statistics(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
        found = np.zeros((len(rows), 2))
        pairs = zip(predictions, rows, strict=True)
        for line, (prediction, row) in enumerate(pairs):
            if answerable(row, line + 1) is of:
                found[line] = wrong(prediction, row), 1
        return found

    return statistics


def _share(sums: Floats, count: float) -> Floats:
    wrong, counted = sums[..., 0], sums[..., 1]
    return np.divide(wrong, counted, out=np.zeros_like(wrong), where=counted > 0)


def _require(of: bool, name: str) -> Callable[[Sequence[Row]], None]:
    def require(rows: Sequence[Row]) -> None:
        if not any(answerable(row, at) is of for at, row in enumerate(rows, 1)):
            without = "is answerable" if of else "says `answerable = false`"
            raise InvalidInput(
                f"`{name}` has nothing to count: no test row {without}",
                hint="add such rows, or leave the metric out",
            )

    return require


def _metric(name: str, description: str, *, of: bool) -> Metric:
    def wrong(prediction: Prediction, row: Row) -> bool:
        said = abstains(prediction.text, *(("", row.answer) if of else (row.answer,)))
        return said if of else not said

    return Metric(
        name=name,
        description=description,
        statistics=_counted(of, wrong),
        aggregate=_share,
        per_example=lambda stats: stats[:, 0],
        higher_is_better=False,
        among=lambda stats: stats[:, 1] > 0,
        require=_require(of, name),
        reads_columns=True,
    )


HALLUCINATION = _metric(
    "hallucination",
    "Share of the questions without an answer (`answerable = false`) that are answered",
    of=False,
)
OVER_ABSTENTION = _metric(
    "over_abstention", "Share of the questions with an answer that are not answered", of=True
)
