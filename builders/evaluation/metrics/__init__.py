"""The metrics a manifest can name: a closed table, one file per family."""

from __future__ import annotations

from adapterworks.builders.evaluation.metrics.code import AST_MATCH, RUFF_CLEAN
from adapterworks.builders.evaluation.metrics.icd import ICD_CATEGORY, ICD_CHAPTER
from adapterworks.builders.evaluation.metrics.labels import ACCURACY, EXACT_MATCH, MACRO_F1
from adapterworks.builders.evaluation.metrics.likelihood import PERPLEXITY
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.builders.evaluation.metrics.overlap import BLEU, CHRF, ROUGE_L
from adapterworks.manifests.errors import InvalidInput

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(EXACT_MATCH, ACCURACY, MACRO_F1, ROUGE_L, BLEU, CHRF),
        *(ICD_CATEGORY, ICD_CHAPTER, AST_MATCH, RUFF_CLEAN, PERPLEXITY),
    )
}


def metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in METRICS:
        raise InvalidInput(
            f"there is no metric `{name}`", hint=f"known: {', '.join(METRICS)} (`adapters metrics`)"
        )
    return METRICS[name]
