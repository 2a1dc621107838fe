"""What a metric is: additive statistics per example, and a function of their sum.

Invariant: a metric's value on any set of examples is `aggregate(sum of their statistics)`. That is
true of means, of corpus BLEU and chrF (n-gram counts), of macro-F1 (counts per class) and of
perplexity (log-likelihood and tokens), so that one vectorised paired bootstrap serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.reasoning import as_spoken, spoken
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.builtin import BUILTIN

Floats = NDArray[np.float64]
# What a metric asks of a model: that it answers, how likely it finds the reference, or by how much
# it finds the better of a row's answers likelier than the next best, or judges it better, or how it
# judges an answer's steps; or, of a judge, whose answer is better.
Need = Literal["text", "likelihood", "preference", "verdict", "judged", "steps"]
ANSWERS: Final[Literal["text"]] = "text"
LIKELIHOOD: Final[Literal["likelihood"]] = "likelihood"
PREFERENCE: Final[Literal["preference"]] = "preference"
VERDICT: Final[Literal["verdict"]] = "verdict"
JUDGED: Final[Literal["judged"]] = "judged"
STEPS: Final[Literal["steps"]] = "steps"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model gave for one row.

    Attributes:
        text: its answer, without the reasoning before it; empty where only the likelihood was
            asked for.
        nll: negative log-likelihood of the reference answer, nats, summed over its tokens.
        tokens: number of those tokens.
        margin: log-probability of the better of two answers less that of the other, nats.
        verdict: reward of the better of two answers less that of the other, as the model judges
            them itself (`builders/data/verdict.py`), nats.
        cut: its answer ended because it was too long.
        samples: further answers, drawn.
        judged: what a judge says of it beside the candidate's: 1 it is better, 0 it is worse, ½
            neither; the candidate's own is ½.
        steps: the reward of each step of the row's own answer, as the model judges it itself
            (`builders/data/steps.py`), nats.
        whole: the text with its reasoning, where it reasoned; else empty.
        whole_samples: the same of the drawn answers, where one of them reasoned.
    """

    text: str = ""
    nll: float = 0.0
    tokens: int = 0
    margin: float = 0.0
    verdict: float = 0.0
    cut: bool = False
    samples: tuple[str, ...] = ()
    judged: float = 0.5
    steps: tuple[float, ...] = ()
    whole: str = ""
    whole_samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as the manifest says it.
        description: one sentence for `adapters metrics`.
        statistics: predictions and rows → [n, k] additive statistics.
        aggregate: [..., k] summed statistics, their number of examples → [...] values.
        per_example: [n, k] statistics → [n] scores for people to read, one per example.
        unit: of the value: `share` (0–1), `ppl` or `nats`.
        binary: each example is right or wrong, so McNemar's exact test applies.
        is_mean: its value is the mean of `per_example`.
        require: refuses, before anything is trained or asked, rows or a machine that it cannot be
            measured on.
        among: [n, k] statistics → [n], the examples whose `per_example` it is the mean of, where
            those are not all.
        needs: `text` (the model's answer is generated), `likelihood` (of the reference),
            `preference` (likelihoods of both answers), `verdict` (its verdicts on both) or `steps`
            (its verdicts on an answer's steps); or `judged`, a judge's word on its answers
            (`evaluate.judge`).
        reads_reasoning: it scores the whole text, as one of formats does; others are given what is
            said behind the reasoning, of answer and reference alike.
        reads_columns: it judges an answer by columns of its row, whatever the row's own answer is.
        packages: distributions whose version can move a score, and `python` where programs are read
            or run.
    """

    name: str
    description: str
    statistics: Callable[[Sequence[Prediction], Sequence[Row]], Floats]
    aggregate: Callable[[Floats, float], Floats]
    per_example: Callable[[Floats], Floats]
    unit: Literal["share", "ppl", "nats"] = "share"
    higher_is_better: bool = True
    binary: bool = False
    needs: Need = ANSWERS
    is_mean: bool = False
    require: Callable[[Sequence[Row]], None] | None = None
    among: Callable[[Floats], NDArray[np.bool_]] | None = None
    reads_reasoning: bool = False
    reads_columns: bool = False
    packages: tuple[str, ...] = ()

    @property
    def of_answers(self) -> bool:
        """Whether an answer's text is all that it needs of a model."""
        return self.needs in (ANSWERS, JUDGED)

    @property
    def alone(self) -> bool:
        """Whether one answer has a score by itself, the larger the better: a verifier's, which can
        be a reward."""
        return self.needs == ANSWERS and self.higher_is_better

    @property
    def of_shares(self) -> bool:
        """Whether every score is known to lie from 0 to 1 before any is there: one of somebody's
        own may be any number."""
        return self.unit == "share" and (self.binary or self.name in BUILTIN["metrics"])

    @property
    def absolute(self) -> bool:
        """Whether a model's score says something without the one that it is compared with: a win
        rate is ½ for whoever is looked at, by its definition."""
        return self.needs != JUDGED

    def score(self, answer: str, row: Row) -> float:
        """Of one answer to one row: a verifier's reward.

        Args:
            answer: the whole text, with its reasoning.
        """
        return self.scores([answer], [row])[0]

    def scores(self, answers: Sequence[str], rows: Sequence[Row]) -> list[float]:
        """Of one answer to each row, at once: what runs programs runs them side by side."""
        if not answers:
            return []
        found = self.per_example(self.measured([Prediction(one) for one in answers], rows))
        return [float(score) for score in found]

    def measured(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
        """`statistics` of what is said: answers and references without their reasoning, or whole
        where the metric reads that."""
        if not self.of_answers:
            return self.statistics(predictions, rows)
        if self.reads_reasoning:
            return self.statistics([replace(p, text=p.whole or p.text) for p in predictions], rows)
        said = [
            p if (text := spoken(p.text)) == p.text else replace(p, text=text) for p in predictions
        ]
        return self.statistics(said, [as_spoken(row) for row in rows])

    def value(self, statistics: Floats) -> float:
        """The metric's value on all examples of [n, k] statistics."""
        return float(self.aggregate(statistics.sum(axis=0), len(statistics)))


def mean_metric(
    name: str,
    description: str,
    score: Callable[[Sequence[Prediction], Sequence[Row]], Sequence[float]],
    *,
    binary: bool = True,
    packages: tuple[str, ...] = (),
) -> Metric:
    """A metric that is the mean of one score per example."""

    def statistics(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
        return np.asarray(score(predictions, rows), dtype=np.float64).reshape(-1, 1)

    return Metric(
        name=name,
        description=description,
        statistics=statistics,
        aggregate=lambda sums, count: sums[..., 0] / count,
        per_example=lambda stats: stats[:, 0],
        binary=binary,
        is_mean=True,
        packages=packages,
    )
