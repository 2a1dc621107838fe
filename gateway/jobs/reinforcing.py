"""What only a job of method `reinforcement` says: who grades, by which columns of its rows.

Invariant: a job that is queued has a grader that is run here, and rows that all have the columns
that it reads.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from adapterworks.gateway.files.faults import Faults
from adapterworks.gateway.files.lines import Lines
from adapterworks.gateway.jobs.graders import read_grader
from adapterworks.gateway.jobs.objects import Reinforcement
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import columns_of
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.jobs.fine_tuning import Rows

# Columns that are no text to grade by.
_ASKED = {"messages", "tools", "system"}
# Where no grader says which column is a row's own answer.
_USUAL = ("reference_answer", "answer")


def graded(
    blobs: BlobStore, asked: Reinforcement | None, training: Rows, validation: Rows | None
) -> dict[str, Any]:
    """The fields of the job's `Asked` that only this method has.

    Raises:
        InvalidField: it cannot be honoured, or a row lacks what the grader reads.
    """
    if asked is None:
        raise InvalidField(
            "`method.reinforcement` is missing",
            param="method",
            hint="it has a `grader`, which says what an answer is worth",
        )
    _require_usual(asked)
    try:
        grader = read_grader(asked.grader)
    except InvalidInput as error:
        raise InvalidField(error.message, param="method", hint=error.hint) from error
    read = columns_of(grader)
    common = _columns(blobs, training, read, "training_file")
    if validation is not None:
        common &= _columns(blobs, validation, read, "validation_file")
    answer = next((name for name in (*read, *_USUAL, *sorted(common)) if name in common), None)
    if answer is None:
        raise InvalidField(
            "the rows have no column beside `messages` that is in all of them",
            param="training_file",
            hint="give each row its own answer, as `reference_answer`: evaluation compares with it",
        )
    return {
        "grader": grader.model_dump(mode="json"),
        "asked_grader": asked.grader,
        "answer": answer,
    }


def _require_usual(asked: Reinforcement) -> None:
    hyper = asked.hyperparameters
    given = {
        "eval_interval": hyper.eval_interval != "auto",
        "eval_samples": hyper.eval_samples != "auto",
        "reasoning_effort": hyper.reasoning_effort != "default",
    }
    for name in (name for name, other in given.items() if other):
        raise InvalidField(
            f"`{name}` cannot be chosen",
            param="method",
            hint="leave it out: `[jobs] template` says how often a training is evaluated",
        )


def _columns(blobs: BlobStore, rows: Rows, read: tuple[str, ...], param: str) -> set[str]:
    """The columns that all rows have; they were looked at one by one when they arrived.

    Raises:
        InvalidField: with the lines that lack one of those that are read.
    """
    lines, faults = Lines(), Faults()
    common: set[str] | None = None

    def look(number: int, line: bytes | None) -> None:
        nonlocal common
        if not line or not line.strip():
            return
        row = from_json(line)
        have = {name for name, value in row.items() if value is not None} - _ASKED
        common = have if common is None else common & have
        for name in read:
            if name not in have:
                faults.add(number, f"there is no `{name}`, which the grader reads")

    for chunk in blobs.get(rows.blob):
        for number, line in lines.feed(chunk):
            look(number, line)
    for number, line in lines.close():
        look(number, line)
    if said := faults.summary():
        raise InvalidField(
            f"`{rows.file}`: {said}",
            param=param,
            hint="give these rows the column, or have the grader read another",
        )
    return common or set()
