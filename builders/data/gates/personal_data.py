"""Personal data: what a model has learnt by heart it may tell anyone.

What is looked for is said in `adapterworks/privacy/personal.py`. Reports name the kind and show the
row with the finding masked.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import full_text
from adapterworks.privacy.personal import find_personal_data, mask, regions_of


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with personal data, in all splits."""
    regions = regions_of(context.languages)
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            text = full_text(row)
            if found := find_personal_data(text, regions):
                kinds = ", ".join(dict.fromkeys(item.kind for item in found))
                excerpt = mask(text, found)
                offences.append(offence(split, index, row, kinds, excerpt))
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="personal_data",
    description="E-mail and IP addresses; phone, card, account, passport and national id numbers.",
    check=check,
)
