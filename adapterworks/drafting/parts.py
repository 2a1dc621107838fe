"""A file with a column that says on which side each row is → a file a side."""

from __future__ import annotations

import json
from pathlib import Path

from adapterworks.builders.data.sources import read_file
from adapterworks.drafting.sides import side
from adapterworks.manifests.errors import InvalidInput


def parts(path: Path, column: str) -> dict[str, str]:
    """Split → its rows as JSON lines, without the column.

    Raises:
        InvalidInput: a value that JSON does not hold.
    """
    lines: dict[str, list[str]] = {}
    for record in read_file(path).records:
        split = str(side(record.columns.get(column)))
        rest = {name: value for name, value in record.columns.items() if name != column}
        try:
            line = json.dumps(rest, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"`{path}` row {record.number}: a value that JSON does not hold ({error})",
                hint="write one file a side, and name the one that is trained on",
            ) from error
        lines.setdefault(split, []).append(line)
    return {split: "\n".join(rows) + "\n" for split, rows in lines.items()}
