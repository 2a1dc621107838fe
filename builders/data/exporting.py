"""Rows as lines that a source can be again: what `messages` and the other formats read.

Invariant: an exported conversation or text that is read again is the same row, with its columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from adapterworks.builders.data.rows import Row, to_record


def lines_of(rows: Iterable[Row]) -> str:
    """Rows as JSON lines of the format that reads their kind: `messages`, `text`, `preference`
    (pairs) or `unpaired-preference`; several graded answers are their record as it is kept."""
    return "".join(json.dumps(_columns(row), ensure_ascii=False) + "\n" for row in rows)


def _columns(row: Row) -> dict[str, Any]:
    columns: dict[str, Any] = dict(row.meta)
    if row.text is not None:
        return {"text": row.text, **columns}
    tools = {"tools": [*row.tools]} if row.tools else {}
    prompt, answers = [*row.context], [[*answer] for answer in row.answers]
    if len(answers) == 2 and not row.scores:
        return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1], **tools, **columns}
    if row.kind == "judged":
        label = bool(row.scores[0])
        return {"prompt": prompt, "completion": answers[0], "label": label, **tools, **columns}
    if row.steps:
        steps, labels = (list(part) for part in zip(*row.steps, strict=True))
        return {"prompt": prompt, "completions": steps, "labels": labels, **tools, **columns}
    if row.others:
        return to_record(row)
    return {"messages": [*row.messages], **tools, **columns}
