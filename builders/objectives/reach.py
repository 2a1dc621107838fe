"""Rows whose own answer is longer than any that is sampled to them.

A reward that compares with a row's answer is never had by one that was cut before it could be as
long; where that holds of many rows, most groups have equal rewards and teach nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import tokenize
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Lint
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Rows that are looked at, the first ones, and the share of them from which on it is said.
_LOOKED_AT, _MANY = 1000, 0.1


def reach_lints(
    manifest: Manifest, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]
) -> list[Lint]:
    """What is unusual about `objective.max_completion` for these training rows."""
    if not objective_of(manifest).rewarded:
        return []
    most = int(getattr(manifest.objective, "max_completion", 0))
    some = [row.answer for row in islice(rows, _LOOKED_AT)]
    # The token that ends an answer is sampled, too.
    long = sum(len(ids) + 1 > most for ids in tokenize(tokenizer, some))
    if long <= _MANY * len(some):
        return []
    return [
        Lint(
            "objective.max_completion",
            f"the own answers of {long} of {len(some)} rows have more than {most} tokens: where a "
            "reward compares with them, nothing that is sampled can be worth it",
            "Yu et al. 2025 (DAPO, arXiv:2503.14476), §3.4: rewards of answers that are cut are "
            "noise",
        )
    ]
