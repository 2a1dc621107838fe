"""From what was trained to what the engine loads: one file per method, found in `CONVERTERS`.

Invariant: `Conversion.error` is measured on the numbers written, never assumed, and an exact form's
is 0.0. What a form cannot carry is in `left_out`, by name.
"""

from __future__ import annotations

from builders.convert.adalora import convert_adalora
from builders.convert.conversion import Conversion, Converter, Source
from builders.convert.dora import convert_dora
from builders.convert.full import convert_full
from builders.convert.lora import convert_lora
from builders.convert.prefix import convert_prefix
from builders.convert.prompt import convert_prompt

CONVERTERS: dict[str, Converter] = {
    "full": convert_full,
    "lora": convert_lora,
    "qlora": convert_lora,
    "adalora": convert_adalora,
    "dora": convert_dora,
    "prefix-tuning": convert_prefix,
    "prompt-tuning": convert_prompt,
    "p-tuning-v2": convert_prefix,
}

__all__ = ["CONVERTERS", "Conversion", "Source"]
