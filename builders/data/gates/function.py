"""A plain function as a data gate: it says of one row why it offends.

def too_polite(row):
    return "it begs" if "please" in row.question.lower() else None
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Offence, Rows, offence
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput


def as_gate(name: str, value: Any) -> Gate:
    """A gate under the name that the manifest gives it.

    Args:
        name: of the table's entry.
        value: a `Gate`, or a function `f(row)` that returns the reason why a row offends, or None.

    Raises:
        InvalidInput: it is neither.
    """
    if isinstance(value, Gate):
        if value.name == name:
            return value
        return Gate(name, *(getattr(value, key) for key in Gate.__slots__[1:]))
    if not callable(value) or not _takes_a_row(value):
        raise InvalidInput(
            f"the data gate `{name}` is neither a `Gate` nor a function of one row",
            hint='write `def gate(row): return "the reason" if … else None`',
        )
    description = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return Gate(name, description or "Rows for which it gives a reason.", _check(name, value))


def _takes_a_row(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(Row())
    except (TypeError, ValueError):
        return False
    return True


def _check(name: str, reason_of: Callable[[Row], Any]) -> Callable[..., Finding]:
    def check(rows: Rows, threshold: float, context: Context) -> Finding:
        """Measured: number of rows for which there is a reason, in all splits."""
        found: list[Offence] = []
        for split, members in rows.items():
            for index, row in enumerate(members):
                where = f"{split} row {row.number or index + 1}"
                try:
                    reason = reason_of(row)
                except (Exception, SystemExit) as error:  # whatever a user's function raises
                    raise InvalidInput(
                        f"the data gate `{name}` failed on {where}: "
                        f"{type(error).__name__}: {error}",
                        hint=f"the row: {row.excerpt(120)}",
                    ) from error
                if reason is not None and not isinstance(reason, str):
                    raise InvalidInput(
                        f"the data gate `{name}` gave {reason!r} on {where}, not a reason or None",
                        hint="return a text that says why the row offends, or None",
                    )
                if reason:
                    found.append(offence(split, index, row, reason))
        return Finding(tuple(found), float(len(found)))

    return check
