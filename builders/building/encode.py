"""Rows → the examples that a training learns from, and what a plan knows of both.

Invariant: what an objective or a reward cannot learn from is refused here, before the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapterworks.builders.building.requirements import require_rewards
from adapterworks.builders.data.identity import asked_digest, encoded_digest
from adapterworks.builders.data.many import digests
from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Row, digest_of
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.objectives.sft import OBJECTIVE as SFT
from adapterworks.builders.objectives.stored import encoded
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LEARNT = ("train", "validation")


def encode_splits(
    manifest: Manifest,
    tokenizer: PreTrainedTokenizerBase,
    rows: Mapping[str, Sequence[Row]],
) -> dict[str, Sequence[Example]]:
    """The examples of the training and the validation rows, as the objective makes them.

    Args:
        rows: by split.

    Raises:
        InvalidInput: the objective or one of its rewards cannot use a row.
        Refused: a reward cannot be given on this machine.
    """
    train, objective = manifest.train, objective_of(manifest)
    examples: dict[str, Sequence[Example]] = {}
    for name in _LEARNT:
        objective.require(rows[name])
        require_rewards(manifest, rows[name])
        examples[name] = encoded(objective, tokenizer, rows[name], train.max_length, train.loss_on)
    return examples


def encode_earlier(
    manifest: Manifest, tokenizer: PreTrainedTokenizerBase, earlier: Sequence[Row]
) -> Sequence[Example]:
    """Examples of rows that were learnt before, by which a training knows what not to forget.

    Args:
        earlier: of the release that is continued, and of its ancestors (`train.anchor`).
    """
    return encoded(SFT, tokenizer, earlier, manifest.train.max_length, "completion")


def data_facts(
    manifest: Manifest,
    rows: Mapping[str, Sequence[Row]],
    examples: Mapping[str, Sequence[Example]],
    sources: Sequence[dict[str, Any]],
    files: Mapping[str, str],
) -> DataFacts:
    """What a plan knows of the rows: how many, how long, and the digests that name them.

    Args:
        rows: by split.
        examples: what `encode_splits` made of them.
        sources: the datasheet of each source.
        files: digests of the files that the manifest names beside its rows.
    """
    objective, learnt = objective_of(manifest), examples["train"]
    return DataFacts(
        rows={name: len(split) for name, split in rows.items()},
        digests={name: digest_of(digests(split)) for name, split in rows.items()},
        lengths=tuple(objective.planned_tokens(example) for example in learnt),
        supervised=tuple(objective.planned_supervised(example) for example in learnt),
        shared=common_prefix(
            (sequence.input_ids for sequence in sequences_of(learnt)),
            (sequence.labels for sequence in sequences_of(learnt)),
        ),
        sources=tuple(sources),
        encoded={
            name: encoded_digest(sequences_of(encoded_rows))
            for name, encoded_rows in examples.items()
        }
        | {
            # Rewards read all of a row, as metrics do: its columns, and the whole of its answer.
            f"{name}.rewarded": asked_digest(rows[name])
            for name in _LEARNT
            if objective.rewarded
        },
        asked=asked_digest(rows["test"]),
        files=files,
        sequences=objective.sequences,
        longest=max(
            max(len(sequence.input_ids) for sequence in sequences_of(learnt)),
            max(objective.planned_longest(example) for example in learnt),
        ),
    )


def sequences_of(examples: Sequence[Example]) -> Iterator[Encoded]:
    """The sequences of all examples, in order."""
    return (sequence for example in examples for sequence in example.sequences)
