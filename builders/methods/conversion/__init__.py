"""From what was trained to what the engine loads: one file per method, found in `CONVERTERS`.

Invariant: `Conversion.error` is measured on the numbers written, never assumed, and an exact form's
is 0.0. What a form cannot carry is in `left_out`, by name.
"""

from __future__ import annotations

from adapterworks.builders.methods.conversion.adalora import convert_adalora
from adapterworks.builders.methods.conversion.conversion import Conversion, Converter, Source
from adapterworks.builders.methods.conversion.dora import convert_dora
from adapterworks.builders.methods.conversion.full import convert_full
from adapterworks.builders.methods.conversion.lora import convert_lora
from adapterworks.builders.methods.conversion.prefix import convert_prefix
from adapterworks.builders.methods.conversion.prompt import convert_prompt

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
