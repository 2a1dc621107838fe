"""A plain table on stdout: aligned, never wrapped and never cut, so that it can be piped."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> None:
    """Print rows under a head; columns of `right` are aligned to the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for position, row in enumerate([list(columns), *rows]):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        click.secho("  ".join(cells).rstrip(), bold=position == 0)
