"""P-tuning v2 (Liu et al. 2022, arXiv:2110.07602): deep prompts through a reparameterizing MLP.

Invariant: the MLP exists in training only; at publish its output is folded into keys and values,
which are then those of prefix tuning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.prefix_tuning import PrefixTuning
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import (
    SoftPromptKeys,
    key_value_width,
    leaves_room,
    starts_from_no_text,
)
from adapterworks.builders.methods.technique import Default, ServableForm
from adapterworks.manifests.models import ServeTable
from adapterworks.registry.releases.forms import PREFIX

if TYPE_CHECKING:
    from torch import nn


class PTuningV2Table(SoftPromptKeys):
    """Deep prompts with a reparameterization MLP (Liu et al. 2022)."""

    kind: Literal["p-tuning-v2"]
    """The method."""


def encoder_width(shape: BaseShape, table: SoftPromptKeys) -> int:
    """The MLP's hidden width: as declared, else the base's hidden size."""
    return table.encoder_hidden_size or shape.hidden


class PTuningV2(PrefixTuning):
    """Prefix tuning with a two-layer MLP in front."""

    continues = False  # the release has the prefix, not the network that makes it
    table = PTuningV2Table
    title = "P-tuning v2"
    source = "Liu et al. 2022, arXiv:2110.07602"
    learning_rate = Default(
        1e-3,
        "docs/log/training.md: a small decoder diverges at Liu et al. 2022's 5e-3, for encoders",
    )
    checks = (leaves_room, starts_from_no_text)

    def trainable(self, shape: BaseShape, table: SoftPromptKeys) -> int:
        token, width = key_value_width(shape), encoder_width(shape, table)
        output = shape.layers * 2 * token
        return table.virtual_tokens * token + (token + 1) * width + (width + 1) * output

    def servable(self, shape: BaseShape, table: SoftPromptKeys, serve: ServeTable) -> ServableForm:
        return ServableForm(
            PREFIX, "exact", "reparameterization folded", virtual_tokens=table.virtual_tokens
        )

    def attach(self, model: nn.Module, table: SoftPromptKeys, steps: int) -> nn.Module:
        from peft import PrefixTuningConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            PrefixTuningConfig(
                num_virtual_tokens=table.virtual_tokens,
                encoder_hidden_size=table.encoder_hidden_size or model.config.hidden_size,
                prefix_projection=True,
                task_type="CAUSAL_LM",
            ),
        )
        return adapted


P_TUNING_V2 = PTuningV2()
