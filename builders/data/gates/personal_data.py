"""Personal data: what a model has learnt by heart it may tell anyone.

All that is shown to a model or learnt is looked at: what turns call, system turns and tools too.
What is looked for is said in `adapterworks/privacy/personal.py`. Reports name the kind and show the
row with the finding masked.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.shown import Looked
from adapterworks.privacy.personal import find_personal_data, mask, regions_of


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with personal data, in all splits."""
    regions = regions_of(context.languages)

    def look(text: str) -> tuple[tuple[str, ...], str] | None:
        found = find_personal_data(text, regions)
        kinds = tuple(dict.fromkeys(item.kind for item in found))
        return (kinds, mask(text, found)) if found else None

    looked = Looked(look)
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            if found := looked.at(row):
                offences.append(offence(split, index, row, *found))
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="personal_data",
    description="E-mail and IP addresses; phone, card, account, passport and national id numbers.",
    check=check,
)
