"""Keys, tokens and passwords in rows, in all splits; reports never show the secret.

All that is shown to a model or learnt is looked at: what turns call, system turns and tools too.
What is looked for is said in `adapterworks/privacy/credentials.py`.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.shown import Looked
from adapterworks.privacy.credentials import find_secrets


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with secrets, in all splits."""
    looked = Looked(_look)
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            if found := looked.at(row):
                offences.append(offence(split, index, row, *found))
    return Finding(tuple(offences), float(len(offences)))


def _look(text: str) -> tuple[tuple[str, ...], str] | None:
    """The kinds of what was found, and the text without it."""
    found = find_secrets(text)
    if not found:
        return None
    shown = text
    for secret in sorted(found, key=len, reverse=True):
        shown = shown.replace(secret, "‹secret›")
    at = max(0, shown.find("‹secret›") - 80)  # a key may stand deep in a list of tools
    return tuple(sorted(set(found.values()))), " ".join(shown[at:].split())[:160]


GATE = Gate(
    name="secrets",
    description="Keys, tokens and passwords.",
    check=check,
    action="fail",
)
