"""Which format a file's records are in, and which column is what; pure, and unsure aloud.

Invariant: a column is known by its name, or, where no name is known, by what it holds; a choice
that the name alone does not settle is a `Doubt`, which somebody confirms or `--yes` takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.builders.data.formats.format import FORMATS
from adapterworks.builders.data.formats.further import VERDICTS, truth
from adapterworks.drafting.names import ANSWERS, QUESTIONS, is_name, likely, require_named
from adapterworks.drafting.reading import of_pairs, pair_of, readable, reads, whole
from adapterworks.drafting.sides import folded, split_column
from adapterworks.manifests.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Doubt:
    """A choice that the file does not settle.

    Attributes:
        key: `answer`, `question` or `format`, as the option is called.
        asks: it as a sentence for people.
        options: the columns or formats that it may be, the likeliest first.
    """

    key: str
    asks: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guess:
    """What the records are taken for; `columns` as in `data.columns`."""

    format: str
    columns: Mapping[str, str]
    doubts: tuple[Doubt, ...] = ()


def guess(
    records: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, str] | None = None,
    format: str | None = None,
) -> Guess:
    """The format and the columns of records.

    Args:
        records: as they were read; all are looked at.
        chosen: `question` and `answer` as somebody said them.
        format: as somebody said it.

    Raises:
        InvalidInput: no record, a chosen column that is not there, or nothing that could be learnt.
    """
    chosen = chosen or {}
    if not records:
        raise InvalidInput("the file has no rows", hint="its first line names the columns")
    names = [*dict.fromkeys(name for record in records for name in record if is_name(name))]
    for what, name in chosen.items():
        if name not in names:
            raise InvalidInput(
                f"there is no column `{name}` for the {what}",
                hint=f"the columns are {', '.join(f'`{column}`' for column in names)}",
            )
    if not {"question", "answer"} <= chosen.keys():
        require_named(records, names)
    side = split_column(records)
    names = [name for name in names if name != side or name in chosen.values()]
    if format is not None:
        return _in_format(records, names, chosen, format)
    known = None if chosen else readable(records, names)
    if known is not None:
        return Guess(known, {})
    texts = _texts(records, names)
    named = _named_values(records, [name for name in names if name not in texts])
    if len(texts) == 1 and not chosen and not _answers_to(texts[0], named):
        return _whole(texts[0], names)
    question, answer, doubts = _pair(records, texts, named, chosen)
    renamed = {"prompt": question, "completion": answer}
    if verdict := _verdict(records, [name for name in names if name not in renamed.values()]):
        renamed["label"] = verdict
    pairs = of_pairs(*renamed)
    return Guess(pairs, {k: v for k, v in renamed.items() if k != v}, doubts)


def _in_format(
    records: Sequence[Mapping[str, Any]], names: list[str], chosen: Mapping[str, str], format: str
) -> Guess:
    """The columns of a format that somebody named; those that have its own names need none."""
    known = FORMATS.named(format)
    if not chosen and reads(known, records):
        return Guess(format, {})
    if known.learnt_whole and not chosen:
        texts, column = _texts(records, names), whole()[1]
        return Guess(format, {column: texts[0]} if len(texts) == 1 else {})
    pair = pair_of(known)
    if pair is None:
        if chosen:
            raise InvalidInput(
                f"format `{format}` has no column of a question and none of its answer",
                hint="leave out `--question` and `--answer`; `data.columns` of the manifest "
                "renames any column",
            )
        return Guess(format, {})
    own = dict(zip(("question", "answer"), pair, strict=True))
    given = {key: name for key, name in own.items() if name in names and key not in chosen}
    texts = _texts(records, names)
    named = _named_values(records, [name for name in names if name not in texts])
    question, answer, doubts = _pair(records, texts, named, {**given, **chosen})
    renamed = dict(zip(pair, (question, answer), strict=True))
    return Guess(format, {k: v for k, v in renamed.items() if k != v}, doubts)


def _answers_to(text: str, named: Sequence[str]) -> bool:
    """Whether a column beside the only one of text makes a pair of both by its name."""
    asks = folded(text) in ANSWERS.split() and likely(named, QUESTIONS) is not None
    return asks or likely(named, ANSWERS) is not None


def _whole(text: str, names: Sequence[str]) -> Guess:
    """The one column of text as prose; where others are beside it somebody says so."""
    format, column = whole()
    if text == column:
        return Guess(format, {})
    doubts: tuple[Doubt, ...] = ()
    if len(names) > 1:
        asks = f"Only column `{text}` holds text: is it learnt whole, or does another answer it?"
        doubts = (Doubt("format", asks, (format, of_pairs())),)
    return Guess(format, {column: text}, doubts)


def _pair(
    records: Sequence[Mapping[str, Any]],
    texts: list[str],
    named: list[str],
    chosen: Mapping[str, str],
) -> tuple[str, str, tuple[Doubt, ...]]:
    """Question and answer, with what is not sure about them.

    Args:
        texts: columns that hold text.
        named: columns that hold something else under a name of the lists above.
    """
    if not texts and not named and not chosen:
        raise InvalidInput(
            "no column holds text", hint="see `adapters formats` for what rows can look like"
        )
    letters = {folded(name): name for name in texts}
    if not chosen and {"q", "a"} <= letters.keys():  # one of them alone says nothing
        chosen = {"question": letters["q"], "answer": letters["a"]}
    doubts = []
    answer = chosen.get("answer") or likely(texts, ANSWERS)
    question = chosen.get("question") or likely(
        [name for name in texts if name != answer], QUESTIONS
    )
    rest = [name for name in texts if name not in (answer, question, *chosen.values())]
    rest.sort(key=lambda name: _as_answer(records, texts, name))
    if answer is None:
        numbers = [name for name in named if name != question]
        answer = likely(numbers, ANSWERS)
        asked = ([answer] if answer else []) + rest
        if not asked:
            raise InvalidInput(
                f"`{question}` is the only column of text: there is nothing to answer",
                hint="name the columns: `--question COLUMN --answer COLUMN`",
            )
        if answer is None or rest[1 if question is None else 0 :]:
            doubts.append(
                Doubt("answer", "Which column holds what is to be answered?", tuple(asked))
            )
        answer = asked[0]
        rest = [name for name in rest if name != answer]
    if question is None and not rest:
        question = likely([name for name in named if name != answer], QUESTIONS)
    if question is None:
        if not rest:
            raise InvalidInput(
                f"`{answer}` is the only column of text: there is nothing that asks for it",
                hint="name the columns: `--question COLUMN --answer COLUMN`",
            )
        rest.sort(key=lambda name: -_length(records, name))
        question = rest.pop(0)
        doubts.append(Doubt("question", "Which column holds what is asked?", (question, *rest)))
    return question, answer, tuple(doubts)


def _verdict(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """A column that says of each answer whether it is a good one."""
    for name in names:
        if folded(name) in VERDICTS and all(truth(one.get(name)) is not None for one in records):
            return name
    return None


def _as_answer(
    records: Sequence[Mapping[str, Any]], texts: Sequence[str], name: str
) -> tuple[int, int, float]:
    """How likely a column answers, the least first.

    Of columns that repeat themselves the one of the fewest and shortest values is a label. Where
    every row has another text, as in questions and answers, they stand in the order of reading.
    """
    distinct = len({record.get(name) for record in records})
    if 2 * distinct <= len(records):
        return (0, distinct, _length(records, name))
    return (1, -texts.index(name), 0.0)


def _texts(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The columns of text that says something: not numbers, dates or keys of their own."""
    return [name for name in names if _is_text([record.get(name) for record in records])]


def _named_values(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Those of single values that have a name of the lists above: `intent` of numbers."""
    found, known = [], {*ANSWERS.split(), *QUESTIONS.split()}
    for name in names:
        values = [record.get(name) for record in records]
        filled = [v for v in values if isinstance(v, str | int | float) and str(v).strip()]
        if folded(name) in known and 2 * len(filled) >= len(values):
            found.append(name)
    return found


def _is_text(values: Sequence[Any]) -> bool:
    filled = [value for value in values if isinstance(value, str) and value.strip()]
    if len(filled) < len(values) / 2 or any(not isinstance(v, str | None) for v in values):
        return False
    return any(any(c.isalpha() for c in value) for value in filled) and not _is_key(filled)


def _is_key(values: Sequence[str]) -> bool:
    """`T-0001`, `2026-11-29`: each row another, no spaces, mostly digits."""
    return len(set(values)) == len(values) and all(
        len(value) <= 40 and 2 * sum(c.isdigit() for c in value) >= sum(c.isalnum() for c in value)
        for value in values
    )


def _length(records: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(len(record.get(name) or "") for record in records) / len(records)
