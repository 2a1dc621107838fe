"""Overlap with the reference: ROUGE-L (rouge-score), corpus BLEU and chrF (sacrebleu), all 0–1.

Characters of scripts without spaces (Chinese, Japanese, Thai, …) and Korean syllables count as one
token each, and words keep their combining marks; rouge-score's own tokenizer would drop them, and
BLEU's would take a whole sentence as one word. On ASCII both are the published ones: ROUGE reads
letters and digits alone, so that `C++` and `C#` are one word to it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.wording import HANGUL, UNSPACED, marks, word_pattern
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction, mean_metric

_SINGLE = UNSPACED + HANGUL  # characters that are tokens each
_HAS_SINGLE = re.compile(rf"[{_SINGLE}]")


def tokens(text: str) -> list[str]:
    """Words of any script; on ASCII the same as rouge-score's default."""
    plain = unicodedata.normalize("NFC", text).lower()
    return word_pattern(_SINGLE, left_out="_").findall(plain)


def spaced(text: str) -> str:
    """A text with blanks around what is a token by itself."""
    plain = unicodedata.normalize("NFC", text)
    return re.sub(rf"([{_SINGLE}][{marks()}]*)", r" \1 ", plain)


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


def _statistics(metric: Any, texts: Sequence[str], references: Sequence[str]) -> Floats:
    """[n, k] n-gram counts per example, which sacrebleu sums to score a corpus."""
    return np.asarray(
        metric._extract_corpus_statistics([*texts], [[*references]]), dtype=np.float64
    )


def _scores(metric: Any, sums: Floats) -> Floats:
    """sacrebleu's own score of each vector of summed counts, 0–1."""
    flat = sums.reshape(-1, sums.shape[-1])
    scores = [metric._compute_score_from_stats([int(v) for v in row]).score for row in flat]
    return np.asarray(scores, dtype=np.float64).reshape(sums.shape[:-1]) / 100


def _bleu_statistics(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    texts, references = [p.text for p in predictions], [row.answer for row in rows]
    if not any(_HAS_SINGLE.search(text) for text in references):
        return _statistics(_bleu("13a"), texts, references)
    # `zh` splits ideographs itself and punctuation as `13a` does.
    return _statistics(_bleu("zh"), [*map(spaced, texts)], [*map(spaced, references)])


ROUGE_L = mean_metric(
    "rouge_l",
    "Longest common subsequence with the reference, F-measure (rouge-score)",
    _rouge_l,
    binary=False,
    packages=("rouge-score",),
)
BLEU = Metric(
    name="bleu",
    description="Corpus BLEU, effective order (sacrebleu)",
    statistics=_bleu_statistics,
    aggregate=lambda sums, count: _scores(_bleu("13a"), sums),
    per_example=lambda stats: _scores(_bleu("13a"), stats),
    packages=("sacrebleu",),
)
CHRF = Metric(
    name="chrf",
    description="Corpus chrF2: character n-grams, for short and inflected answers (sacrebleu)",
    statistics=lambda predictions, rows: _statistics(
        _chrf(), [p.text for p in predictions], [row.answer for row in rows]
    ),
    aggregate=lambda sums, count: _scores(_chrf(), sums),
    per_example=lambda stats: _scores(_chrf(), stats),
    packages=("sacrebleu",),
)
