"""The fingerprint: probe prompts and the log-probabilities adapter and base gave on them.

Invariant: entry k of a probe belongs to `positions[k]`, the index in `token_ids` of the token that
is predicted from everything before it, so an engine's `prompt_logprobs` compare index by index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.evaluation.served_model import ServedModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from adapterworks.builders.data.render import Encoded

TOP = 20
VALIDATION = "validation"  # the kind of a probe that is a row
VALIDATION_PROBES = 6
GENERAL_PROBES = 4
_GENERAL_TOKENS = 48
_POSITIONS = 6
# Fixed prose for probes that have nothing to do with the task: a half-applied adapter that only
# answers its own template would pass on validation rows alone.
_GENERAL = (
    "The library opens at nine in the morning and closes when the last reader has gone home.",
    "Water boils at a lower temperature on a mountain because the air above it weighs less.",
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n",
    "Dear colleagues, please find attached the minutes of our meeting, with the three decisions",
)


def make_fingerprint(
    model: ServedModel,
    tokenizer: PreTrainedTokenizerBase,
    validation: Sequence[Encoded],
    *,
    base_digest: str,
    template_digest: str,
) -> dict[str, Any]:
    """Compute `fingerprint.json`.

    Args:
        model: `Base.served` with the servable form.
        tokenizer: the base's.
        validation: encoded validation rows; the first few become probes (training rows if there
            are none).
        base_digest: of the base with its quantization.
        template_digest: of its chat template's text.
    """
    probes = []
    for row in list(validation)[:VALIDATION_PROBES]:
        learnt = [index for index, label in enumerate(row.labels) if label != IGNORED and index > 0]
        spread = _spread(learnt, _POSITIONS - 2)
        early = _spread(list(range(1, learnt[0])), 2) if learnt else []
        probes.append(_probe(model, VALIDATION, row.input_ids, sorted({*early, *spread})))
    for text in _GENERAL[:GENERAL_PROBES]:
        ids = tokenizer(text)["input_ids"][:_GENERAL_TOKENS]
        probes.append(_probe(model, "general", ids, _spread(list(range(1, len(ids))), _POSITIONS)))
    return {
        "schema_version": 1,
        "base_digest": base_digest,
        "template_digest": template_digest,
        "probes": probes,
    }


def _probe(
    model: ServedModel, kind: str, token_ids: Sequence[int], positions: Sequence[int]
) -> dict[str, Any]:
    ids = list(token_ids)[: max(positions) + 1]  # what follows the last position changes nothing
    rows = [position - 1 for position in positions]
    return {
        "kind": kind,
        "token_ids": ids,
        "positions": list(positions),
        "adapter": _top(model.log_probabilities(ids, rows)),
        "base": _top(model.log_probabilities(ids, rows, adapter=False)),
    }


def _top(log_probabilities: torch.Tensor) -> list[list[list[float]]]:
    """For each row the `TOP` likeliest tokens as [id, log-probability], likeliest first."""
    entries = []
    for row in log_probabilities:
        values, ids = row.topk(TOP)
        pairs = zip(ids.tolist(), values.tolist(), strict=True)
        entries.append([[token, round(value, 6)] for token, value in pairs])
    return entries


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the indices, evenly spread, first and last among them."""
    if len(indices) <= count:
        return list(indices)
    step = (len(indices) - 1) / (count - 1)
    return sorted({indices[round(step * k)] for k in range(count)})
