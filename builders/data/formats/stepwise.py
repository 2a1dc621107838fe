"""`stepwise`: an answer in steps, and whether each is a good one (TRL's stepwise supervision)."""

from __future__ import annotations

import math
from typing import Any

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.prompt_completion import prompt_turns
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.steps import USUAL


def _read(columns: Columns) -> Row:
    prompt = prompt_turns(columns, "prompt")
    steps, labels = columns.get("completions"), columns.get("labels")
    if not isinstance(steps, list | tuple) or not isinstance(labels, list | tuple) or not steps:
        raise FormatFault("`completions` and `labels` must be lists: the steps, and one of each")
    if len(steps) != len(labels):
        raise FormatFault(f"{len(steps)} `completions` and {len(labels)} `labels`")
    for number, step in enumerate(steps, 1):
        if not isinstance(step, str) or not step.strip():
            raise FormatFault(f"step {number} of `completions` is no text: {step!r}")
    judged = tuple(zip(steps, map(_judgement, labels), strict=True))
    return Row(
        (*columns.system(prompt), *prompt, {"role": "assistant", "content": USUAL.join(steps)}),
        tools=columns.tools(),
        steps=judged,
    )


def _judgement(label: Any) -> float:
    if not isinstance(label, int | float) or not math.isfinite(label) or not 0 <= label <= 1:
        raise FormatFault(f"`labels` are true or false, or from 0 to 1, and one is {label!r}")
    return float(label)


FORMAT = RowFormat(
    name="stepwise",
    description="a prompt, the steps of an answer, and of each whether it is good (or how surely)",
    columns=("prompt", "completions", "labels", "tools", "system"),
    gives="stepped",
    example={
        "prompt": "2 + 2 · 3?",
        "completions": ["2 · 3 = 6", "2 + 6 = 9"],
        "labels": [True, False],
    },
    read=_read,
    beside=("labels",),
)
