"""Keys, tokens and passwords in rows, in all splits; reports never show the secret.

What is looked for is said in `adapterworks/privacy/credentials.py`.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import full_text
from adapterworks.privacy.credentials import find_secrets


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with secrets, in all splits."""
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            text = full_text(row)
            if found := find_secrets(text):
                kinds = ", ".join(sorted(set(found.values())))
                shown = text
                for secret in sorted(found, key=len, reverse=True):
                    shown = shown.replace(secret, "‹secret›")
                excerpt = " ".join(shown.split())[:160]
                offences.append(offence(split, index, row, kinds, excerpt))
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="secrets",
    description="Keys, tokens and passwords.",
    check=check,
    action="fail",
)
