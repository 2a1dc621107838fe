"""What the three soft-prompt methods share: keys, checks, and the tokens a prompt starts from.

Invariant: the base's own weights are frozen; only what stands in front of the sequence is trained.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Lint, Technique
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.values import PositiveInt

if TYPE_CHECKING:
    import torch
    from torch import nn

# Frequent tokens come first in the vocabularies of the field's tokenizers.
_FREQUENT = 5000
# Numbers of virtual tokens among which one of an equal number of parameters is looked for: more
# leave small bases no room for rows.
TOKENS = range(1, 513)


class SoftPromptKeys(MethodTable):
    """The keys of all soft prompts; the methods' checks refuse those that are not theirs."""

    virtual_tokens: Annotated[int, Field(gt=0, le=1024)] = 20
    """Number of virtual tokens."""
    encoder_hidden_size: PositiveInt | None = None
    """`p-tuning-v2` only: width of the reparameterization MLP; the base's hidden size if not
    given."""
    init_text: str | None = None
    """`prompt-tuning` and `prefix-tuning`: text whose tokens the virtual ones start from; frequent
    tokens drawn at random if not given."""


Keys = TypeVar("Keys", bound=SoftPromptKeys)


@check("method", "train.max_length")
def leaves_room(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Rows must have room behind the virtual tokens."""
    table = _keys(manifest)
    if table.virtual_tokens + 16 > manifest.train.max_length:
        yield Problem(
            ("method", "virtual_tokens"),
            f"{table.virtual_tokens} virtual tokens leave no room for a row within "
            f"`train.max_length` {manifest.train.max_length}",
            f"use at most {max(manifest.train.max_length - 16, 1)} virtual tokens, "
            "or a larger `train.max_length`",
        )


@check("method")
def has_no_encoder(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Prompts that are trained directly have no MLP."""
    table = _keys(manifest)
    if table.encoder_hidden_size is not None:
        yield Problem(
            ("method", "encoder_hidden_size"),
            f"method `{table.kind}` has no reparameterization encoder",
            'remove it, or set `kind = "p-tuning-v2"`',
        )


@check("method")
def starts_from_no_text(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Prompts that come out of an MLP start from its weights."""
    table = _keys(manifest)
    if table.init_text is not None:
        yield Problem(
            ("method", "init_text"),
            f"method `{table.kind}` cannot start from text: its prompts come out of an encoder",
            'remove it, or set `kind = "prompt-tuning"` or `"prefix-tuning"`',
        )


def _keys(manifest: Manifest) -> SoftPromptKeys:
    table = manifest.method
    assert isinstance(table, SoftPromptKeys)
    return table


class SoftPrompt(Technique[Keys], ABC):
    """A method that trains virtual tokens in front of the sequence."""

    soft_prompt = True

    def virtual_tokens(self, table: Keys) -> int:
        return table.virtual_tokens

    def lints(self, shape: BaseShape, table: Keys) -> list[Lint]:
        return soft_prompt_lints(table)

    def sizes(self, table: Keys) -> Iterable[Keys]:
        return [table.model_copy(update={"virtual_tokens": count}) for count in TOKENS]


def key_value_width(shape: BaseShape) -> int:
    """Numbers of one virtual token in one layer's keys (or values), as PEFT sizes them for GQA."""
    return shape.kv_heads * shape.head_dim


def soft_prompt_lints(table: SoftPromptKeys) -> list[Lint]:
    """Unusual lengths."""
    if table.virtual_tokens > 150:
        return [
            Lint(
                "method.virtual_tokens",
                f"{table.virtual_tokens} virtual tokens; gains level off above 20–100",
                "Lester et al. 2021, figure 3b; Li & Liang 2021, figure 4",
            )
        ]
    return []


def initial_tokens(model: nn.Module, table: SoftPromptKeys) -> torch.Tensor:
    """Ids of the real tokens that a soft prompt starts from, [virtual_tokens].

    `init_text`'s, repeated as often as needed, or frequent ones drawn at random (Lester et al.
    2021, §3.2; Li & Liang 2021, §7.4: real words' activations beat random numbers).
    """
    import torch

    count = table.virtual_tokens
    vocabulary = model.get_input_embeddings().weight
    if table.init_text:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model.config._name_or_path)
        ids = tokenizer(table.init_text, add_special_tokens=False)["input_ids"]
        chosen = torch.tensor((ids * (count // len(ids) + 1))[:count])
    else:
        chosen = torch.randint(0, min(_FREQUENT, len(vocabulary)), (count,))
    return chosen.to(vocabulary.device)
