"""Rows whose texts hold the tokenizer's control tokens: a text becomes a turn.

A `<|im_end|>` inside a question ends it, and what follows is read as the next turn, learnt even. To
encode such texts as ordinary ones would differ from what an engine does with the same content, so
the rows are named. Needs the tokenizer; without it nothing is measured.
"""

from __future__ import annotations

import re

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import shown_texts


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with control tokens, in all splits."""
    if context.special is None:
        return Finding((), None)
    found = re.compile("|".join(map(re.escape, context.special)) or r"(?!)")
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            texts = (text for _, text in shown_texts(row))
            tokens = dict.fromkeys(match for text in texts for match in found.findall(text))
            if tokens:
                named = ", ".join(f"`{token}`" for token in tokens)
                offences.append(offence(split, index, row, f"its text holds {named}"))
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="control_tokens",
    description="Rows whose text holds control tokens of the base's tokenizer.",
    check=check,
    reads_tokens=True,
)
