"""Overlap with the reference: ROUGE-L (rouge-score), corpus BLEU and chrF (sacrebleu), all 0–1.

Chinese, Japanese and Korean characters count as one token each; rouge-score's own tokenizer would
drop them, and BLEU's default would take a whole sentence as one word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction, mean_metric

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_HAS_CJK = re.compile(rf"[{_CJK}]")


def tokens(text: str) -> list[str]:
    """Words of any script, CJK by character; on ASCII the same as rouge-score's default."""
    return _TOKEN.findall(text.lower())


class _Tokenizer:
    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


def _rouge_l(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Tokenizer())
    return [
        float(scorer.score(row.answer, prediction.text)["rougeL"].fmeasure)
        for prediction, row in zip(predictions, rows, strict=True)
    ]


@cache
def _bleu(tokenize: str) -> Any:
    from sacrebleu.metrics import BLEU

    # Effective order: answers of two words have no 4-grams, and are not therefore worth nothing.
    return BLEU(tokenize=tokenize, effective_order=True, force=True)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _statistics(metric: Any, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    """[n, k] n-gram counts per example, which sacrebleu sums to score a corpus."""
    references = [[row.answer for row in rows]]
    texts = [prediction.text for prediction in predictions]
    return np.asarray(metric._extract_corpus_statistics(texts, references), dtype=np.float64)


def _scores(metric: Any, sums: Floats) -> Floats:
    """sacrebleu's own score of each vector of summed counts, 0–1."""
    flat = sums.reshape(-1, sums.shape[-1])
    scores = [metric._compute_score_from_stats([int(v) for v in row]).score for row in flat]
    return np.asarray(scores, dtype=np.float64).reshape(sums.shape[:-1]) / 100


def _bleu_statistics(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    cjk = any(_HAS_CJK.search(row.answer) for row in rows)
    return _statistics(_bleu("zh" if cjk else "13a"), predictions, rows)


ROUGE_L = mean_metric(
    "rouge_l",
    "Longest common subsequence with the reference, F-measure (rouge-score)",
    _rouge_l,
    binary=False,
)
BLEU = Metric(
    name="bleu",
    description="Corpus BLEU, effective order (sacrebleu)",
    statistics=_bleu_statistics,
    aggregate=lambda sums, count: _scores(_bleu("13a"), sums),
    per_example=lambda stats: _scores(_bleu("13a"), stats),
)
CHRF = Metric(
    name="chrf",
    description="Corpus chrF2: character n-grams, for short and inflected answers (sacrebleu)",
    statistics=lambda predictions, rows: _statistics(_chrf(), predictions, rows),
    aggregate=lambda sums, count: _scores(_chrf(), sums),
    per_example=lambda stats: _scores(_chrf(), stats),
)
