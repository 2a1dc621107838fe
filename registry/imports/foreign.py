"""Folders that other programs save an adapter in: what each is, and how it becomes PEFT's.

They are told by the names of their files alone; nothing of them is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from adapterworks.registry.imports.errors import ImportRefused

_SAVE = "`save_pretrained(…, safe_serialization=True)`"
# what a name of the folder is → what the folder is, and what its owner can do
_SAVERS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"zero_to_fp32\.py|global_step\d+"),
        "a DeepSpeed checkpoint, the weights in parts of its own",
        "where it was trained, `python zero_to_fp32.py . out`, load what it writes, and "
        f"{_SAVE}; or train with `stage3_gather_16bit_weights_on_model_save`",
    ),
    (
        re.compile(r"pytorch_model_fsdp(_\d+)?(\.bin)?|.+\.distcp"),
        "an FSDP checkpoint, the weights in parts of its own",
        f"`accelerate merge-weights FOLDER OUT`, load what it writes, and {_SAVE}; or train with "
        "`fsdp_state_dict_type: FULL_STATE_DICT`",
    ),
    (
        re.compile(r"adapters\.safetensors|\d{7}_adapters\.safetensors"),
        "an adapter of MLX, whose factors are named and transposed otherwise",
        "in Python: transpose each `lora_a` and `lora_b`, name them "
        "`base_model.model.MODULE.lora_A.weight` and `….lora_B.weight`, and write PEFT's "
        "configuration with `lora_alpha` = scale × rank",
    ),
)


def refuse_foreign(names: Iterable[str]) -> None:
    """Say whose folder it is, if it is known to be no folder of PEFT's.

    Raises:
        ImportRefused: with the way to PEFT's.
    """
    for name in names:
        for pattern, what, how in _SAVERS:
            if pattern.fullmatch(name):
                raise ImportRefused(name, f"it is of {what}", hint=how)
