"""Whether likelihoods of several subjects can be compared: a perplexity is of a tokenizer's tokens.

Two tokenizers cut one text into unlike numbers of tokens, so that the model with the longer tokens
has the larger perplexity where both find the text equally likely. Margins of two answers are of
whole texts, and need no such care.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapterworks.builders.engines.engine import Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.metrics.metric import LIKELIHOOD
from adapterworks.builders.evaluation.needs import metrics_of
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable


def require_one_tokenizer(subjects: Mapping[str, Subject], table: EvaluateTable) -> None:
    """Refuse, before anybody is asked, likelihoods of tokens that are not the same ones.

    Raises:
        InvalidInput: naming the metric and the two subjects.
    """
    unlike = [metric.name for metric in metrics_of(table) if metric.needs == LIKELIHOOD]
    models = {subject.model.digest: (name, subject.model) for name, subject in subjects.items()}
    if not unlike or len(models) < 2:
        return
    (first, known), *others = ((name, _vocabulary(model)) for name, model in models.values())
    for name, vocabulary in others:
        if vocabulary != known:
            raise InvalidInput(
                f"`{unlike[0]}` is of a tokenizer's tokens, and `{first}` and `{name}` have "
                "different tokenizers, so that their values cannot be compared",
                hint="compare them by metrics of answers, such as `exact_match`: leave "
                f"`{unlike[0]}` out of `evaluate.metrics` and its gates",
            )


def _vocabulary(model: Model) -> Mapping[str, int]:
    """Token → id, added tokens included."""
    from transformers import AutoTokenizer

    found: Mapping[str, int] = AutoTokenizer.from_pretrained(model.folder).get_vocab()
    return found
