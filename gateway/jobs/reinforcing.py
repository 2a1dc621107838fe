"""What only a job of method `reinforcement` says: who grades, by which columns of its rows.

Invariant: a job that is queued has a grader that is run here, and rows that all have the columns
that it reads, and none too long for it. Looking takes bounded time and memory, whatever is in them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import from_json

from adapterworks.gateway.files.faults import Faults
from adapterworks.gateway.files.lines import Lines
from adapterworks.gateway.jobs.graders import Read, read_grader
from adapterworks.gateway.jobs.objects import Reinforcement
from adapterworks.gateway.request.errors import InvalidField, TooSlow
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import Grader, columns_of
from adapterworks.manifests.lengths import MOST_CELLS, cells
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.jobs.fine_tuning import Rows

# Columns that are no text to grade by.
_ASKED = {"messages", "tools", "system"}
# Where no grader says which column is a row's own answer.
_USUAL = ("reference_answer", "answer")
# What `item` has of every row beside its columns.
_OWN = {"answer", "question"}
_MOST_COLUMNS = 100


def graded(
    blobs: BlobStore,
    asked: Reinforcement | None,
    training: Rows,
    validation: Rows | None,
    until: float,
    *,
    python: bool = True,
) -> dict[str, Any]:
    """The fields of the job's `Asked` that only this method has.

    Args:
        until: by the monotonic clock, by when the rows are to have been looked through.
        python: whether tenants' code may grade.

    Raises:
        InvalidField: it cannot be honoured, or a row lacks what the grader reads.
        TooSlow: the rows took longer.
    """
    if asked is None:
        raise InvalidField(
            "`method.reinforcement` is missing",
            param="method",
            hint="it has a `grader`, which says what an answer is worth",
        )
    _require_usual(asked)
    try:
        given = read_grader(asked.grader)
    except InvalidInput as error:
        raise InvalidField(error.message, param="method", hint=error.hint) from error
    _require_trainable(given, python)
    grader = given.grader
    read = columns_of(grader)
    if len(read) > _MOST_COLUMNS:
        raise InvalidField(
            f"the grader reads {len(read)} columns of a row, at most {_MOST_COLUMNS}",
            param="method",
            hint="one column may hold several values, as JSON",
        )
    common = _columns(blobs, training, grader, "training_file", until)
    if validation is not None:
        common &= _columns(blobs, validation, grader, "validation_file", until)
    named = (name for name in read if name != "question")
    preferred = (_USUAL[0], *named, *_USUAL, *sorted(common))
    answer = next((name for name in preferred if name in common), None)
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


def _require_trainable(given: Read, python: bool) -> None:
    for leaf in given.models.values():
        raise InvalidField(
            f"`{leaf.name}` asks the model `{leaf.model}`, and a training here has none to ask",
            param="method",
            hint="`score_model` and `label_model` are there for `graders.run`; a training learns "
            "by graders that compute, and by `python`",
        )
    if given.code and not python:
        raise InvalidField(
            "`python` graders are turned off here",
            param="method",
            hint="ask whoever runs the gateway for `[jobs] python_graders`",
        )


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


def _columns(blobs: BlobStore, rows: Rows, grader: Grader, param: str, until: float) -> set[str]:
    """The columns that all rows have; they were looked at one by one when they arrived.

    Raises:
        InvalidField: with the lines that lack one of those that are read, or are too long for it.
        TooSlow: it takes longer than it may.
    """
    lines, faults = Lines(), Faults()
    common: set[str] | None = None
    # These every row has, of whatever column its own answer comes to be.
    read = [name for name in columns_of(grader) if name not in _OWN]

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
        texts = {name: value for name, value in row.items() if isinstance(value, str)}
        own = next((texts[name] for name in _USUAL if name in texts), "")
        if cells(grader, None, {"answer": own, **texts}) > MOST_CELLS:
            faults.add(number, f"`rouge_l` would compare more than {MOST_CELLS} pairs of words")

    for number, line in _each(blobs.get(rows.blob), lines):
        if time.monotonic() > until:
            raise TooSlow(f"the rows of `{rows.file}` could not be looked at in time")
        look(number, line)
        if faults.full:
            break
    if said := faults.summary():
        beyond = "; what follows was not looked at" if faults.full else ""
        raise InvalidField(
            f"`{rows.file}`: {said}{beyond}",
            param=param,
            hint="give these rows the column, or have the grader read another",
        )
    return common or set()


def _each(chunks: Iterable[bytes], lines: Lines) -> Iterator[tuple[int, bytes | None]]:
    for chunk in chunks:
        yield from lines.feed(chunk)
    yield from lines.close()
