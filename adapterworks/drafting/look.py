"""A file of rows → what a manifest needs to know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapterworks.builders.data.formats import FORMATS, to_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.sources import read_file
from adapterworks.builders.data.sources.workbook import sheets
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.drafting.columns import Doubt, guess
from adapterworks.drafting.sides import split_column
from adapterworks.manifests.errors import InvalidInput

Task = Literal["labels", "answers", "prose", "comparison", "judged"]
FEWEST = 20  # rows; with fewer there is nothing to hold out
_MOST_LABELS = 200
_TRAIN_NAMES, _TEST_NAMES = ("train",), ("test",)
_VALIDATION_NAMES = ("validation", "valid", "val", "dev")
_JUDGED = {
    "comparison": "a better and a worse answer to each question",
    "judged": "answers of which some are said to be wrong",
}
# First code point, last code point, language: scripts that one language is known by.
_SCRIPTS = (
    (0x3040, 0x30FF, "ja"),
    (0xAC00, 0xD7AF, "ko"),
    (0x4E00, 0x9FFF, "zh"),
    (0x0E00, 0x0E7F, "th"),
    (0x0590, 0x05FF, "he"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to know of a file of rows.

    Attributes:
        path: of the training rows.
        rows: how many there are.
        format: as `data.format`.
        columns: as `data.columns`.
        task: `labels`: few answers, each to many questions; `answers`: a text to each; `judged`:
            an answer to each, good or not; `comparison`: a better and a worse one.
        labels: the different answers, the most frequent first; none unless the task is `labels`.
        language: ISO 639-1.
        longest: bytes of the longest row, question and answer.
        longest_answer: bytes of the longest answer.
        test: a file beside it that is told to be test rows.
        validation: likewise.
        split_by: a column that says on which side each row is.
        silent: rows whose answer is empty.
        doubts: what the file does not settle.
        sheets: of a workbook; only the first is read.
    """

    path: Path
    rows: int
    format: str
    columns: Mapping[str, str]
    task: Task
    labels: tuple[str, ...]
    language: str
    longest: int
    longest_answer: int
    test: Path | None
    validation: Path | None
    split_by: str | None
    silent: int
    doubts: tuple[Doubt, ...]
    sheets: tuple[str, ...] = ()


def look(path: Path, *, chosen: Mapping[str, str] | None = None, format: str | None = None) -> Look:
    """Read a file and say what it holds.

    Args:
        path: of any type that a manifest can name.
        chosen: `question` and `answer`, if somebody said which columns they are.
        format: if somebody said it.

    Raises:
        NotFound: no such file.
        InvalidInput: it cannot be read, has too few rows, or rows that are not in the format.
    """
    records = read_file(path).records
    if not records:
        raise InvalidInput(
            f"`{path}` has no rows",
            hint="the first line of a table names its columns, the rows stand below it",
        )
    columns = [record.columns for record in records]
    guessed = guess(columns, chosen, format)
    rows = to_rows(records, guessed.format, source=path.name, columns=guessed.columns)
    if len(rows) < FEWEST:
        raise InvalidInput(
            f"`{path}` has {len(rows)} rows",
            hint=f"give at least {FEWEST}: some are held out to see whether anything was learnt",
        )
    if rows[0].kind in _JUDGED and objective_for(FORMATS[guessed.format].gives) is None:
        raise InvalidInput(
            f"`{path}` has {_JUDGED[rows[0].kind]}, and no objective that learns from that is "
            "installed",
            hint="`adapters objectives` lists those that are; or keep the better answers only",
        )
    answers = [row.answer for row in rows if row.text is None]
    said = [answer for answer in answers if answer.strip()]
    labels = _labels(said)
    return Look(
        path=path,
        rows=len(rows),
        format=guessed.format,
        columns=guessed.columns,
        task=_task(rows, labels),
        labels=labels,
        language=language(rows),
        longest=max(len(_whole(row).encode()) for row in rows),
        longest_answer=max((len(answer.encode()) for answer in answers), default=0),
        test=_beside(path, _TEST_NAMES),
        validation=_beside(path, _VALIDATION_NAMES),
        split_by=split_column(columns),
        silent=len(answers) - len(said),
        doubts=guessed.doubts,
        sheets=sheets(path.read_bytes(), str(path)) if path.suffix.lower() == ".xlsx" else (),
    )


def objective_for(kind: str) -> str | None:
    """The first objective that learns from rows of a kind."""
    for name in OBJECTIVES:
        if kind in OBJECTIVES[name].takes:
            return name
    return None


def _task(rows: Sequence[Row], labels: tuple[str, ...]) -> Task:
    if rows[0].text is not None:
        return "prose"
    if rows[0].kind == "comparison" or rows[0].kind == "judged":
        return rows[0].kind
    return "labels" if labels else "answers"


def _labels(answers: Sequence[str]) -> tuple[str, ...]:
    """The different answers where each stands for five questions and more; else none."""
    counted = Counter(answers)
    few = 0 < len(counted) <= min(_MOST_LABELS, len(answers) / 5)
    short = all(len(answer) <= 80 for answer in counted)
    return tuple(label for label, _ in counted.most_common()) if few and short else ()


def _whole(row: Row) -> str:
    return row.text or "\n".join(turn["content"] for turn in row.messages)


def language(rows: Sequence[Row]) -> str:
    """The language most of the text is in: by script where one tells, else by its words."""
    text = "\n".join(_whole(row) for row in rows[:500])
    letters = sum(c.isalpha() for c in text) or 1
    for first, last, code in _SCRIPTS:
        # A word of Chinese is two letters, one of English five: a third is the greater part.
        if sum(first <= ord(c) <= last for c in text) / letters > (0.1 if code == "ja" else 0.3):
            return code
    from adapterworks.builders.data.gates.language import identify

    return identify(text[:20_000])


def _beside(path: Path, names: Sequence[str]) -> Path | None:
    """`rows-test.csv` beside `rows-train.csv`, or beside `rows.csv`."""
    stem = path.stem
    for train in _TRAIN_NAMES:
        for name in names:
            if train in stem:
                candidates = [stem.replace(train, name)]
            else:
                candidates = [f"{stem}{mark}{name}" for mark in ("-", "_", ".")]
            for candidate in candidates:
                other = path.with_name(candidate + path.suffix)
                if other.is_file() and other != path:
                    return other
    return None
