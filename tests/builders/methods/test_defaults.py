"""What a manifest that names only the method gets: part of every plan, so never moved by chance."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.adalora import AdaloraTable
from adapterworks.builders.methods.dora import DoraTable
from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.methods.p_tuning_v2 import PTuningV2Table
from adapterworks.builders.methods.prefix_tuning import PrefixTuningTable
from adapterworks.builders.methods.prompt_tuning import PromptTuningTable
from adapterworks.builders.methods.qlora import QloraTable
from tests.builders.methods.made import SMALL

LORA = {"rank": 16, "alpha": None, "dropout": 0.0, "target_modules": "all-linear", "rslora": False}
SOFT = {"virtual_tokens": 20}


@pytest.mark.parametrize(
    ("table", "kind", "expected"),
    [
        (LoraTable, "lora", LORA),
        (QloraTable, "qlora", LORA),
        (DoraTable, "dora", LORA),
        (
            AdaloraTable,
            "adalora",
            {
                "rank": 8,  # target_r and init_r of PEFT's AdaLoraConfig
                "initial_rank": 12,
                "alpha": None,
                "dropout": 0.0,
                "target_modules": "all-linear",
                "warmup_share": 0.2,
                "final_share": 0.3,
                "interval": 5,
                "orthogonality": 0.5,  # orth_reg_weight, as in PEFT and the paper's code
            },
        ),
        (PrefixTuningTable, "prefix-tuning", SOFT),
        (PromptTuningTable, "prompt-tuning", SOFT),
        (PTuningV2Table, "p-tuning-v2", SOFT),
    ],
)
def test_a_method_has_these_defaults(table: Any, kind: str, expected: dict[str, Any]) -> None:
    given = table(kind=kind)
    assert {name: getattr(given, name) for name in expected} == expected
    assert METHODS[kind].trainable(SMALL, given) > 0


def test_a_module_is_listed_by_the_last_part_of_its_name() -> None:
    assert Linear("model.layers.0.self_attn.q_proj", 4, 2).leaf == "q_proj"
    assert Linear("lm_head", 4, 2).leaf == "lm_head"
