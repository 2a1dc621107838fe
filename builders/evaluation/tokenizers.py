"""Whether likelihoods of several subjects can be compared: a perplexity is of a tokenizer's tokens.

Two tokenizers cut one text into unlike numbers of tokens, so that the model with the longer tokens
has the larger perplexity where both find the text equally likely. Margins of two answers are of
whole texts, and need no such care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import IGNORED, encode_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.engine import Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.metrics.metric import LIKELIHOOD
from adapterworks.builders.evaluation.needs import metrics_of
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def require_one_tokenizer(
    subjects: Mapping[str, Subject], table: EvaluateTable, rows: Sequence[Row], max_length: int
) -> None:
    """Refuse, before anybody is asked, likelihoods of tokens that are not the same ones.

    Tokenizers that differ are one where they cut what is scored into the same tokens: those of two
    versions of a base often differ in reserved tokens alone, which no row has.

    Args:
        rows: whose likelihood is compared.
        max_length: tokens of a row whose likelihood is scored.

    Raises:
        InvalidInput: naming the metric and the two subjects.
    """
    unlike = [metric.name for metric in metrics_of(table) if metric.needs == LIKELIHOOD]
    models = {subject.model.digest: (name, subject.model) for name, subject in subjects.items()}
    if not unlike or len(models) < 2:
        return
    (first, known), *others = ((name, _tokenizer(model)) for name, model in models.values())
    for name, other in others:
        if other.get_vocab() == known.get_vocab():
            continue
        if _scored(other, rows, max_length) != _scored(known, rows, max_length):
            raise InvalidInput(
                f"`{unlike[0]}` is of a tokenizer's tokens, and `{first}` and `{name}` have "
                "different tokenizers, so that their values cannot be compared",
                hint="compare them by metrics of answers, such as `exact_match`: leave "
                f"`{unlike[0]}` out of `evaluate.metrics` and its gates",
            )


def _tokenizer(model: Model) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model.folder)


def _scored(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int
) -> list[tuple[int, list[str]]]:
    """Of each sequence its row, and the tokens that are scored."""
    return [
        (one.row, tokenizer.convert_ids_to_tokens([at for at in one.labels if at != IGNORED]))
        for one in encode_rows(tokenizer, rows, max_length)
    ]
