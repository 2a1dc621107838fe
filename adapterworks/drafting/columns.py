"""Which format a file's records are in, and which column is what; pure, and unsure aloud.

Invariant: a column is known by its name, or, where no name is known, by what it holds; a choice
that the name alone does not settle is a `Doubt`, which somebody confirms or `--yes` takes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import FORMATS
from adapterworks.manifests.errors import InvalidInput

# Names by which people call what is asked and what is to be answered, the likeliest first.
QUESTIONS = """
    prompt question query instruction input user ticket message request
    问题 提问 问 用户问题 客户问题 标准问题 工单 工单内容 问题描述 描述 输入 请求 诉求 内容 文本
    text sentence content title 标题
"""
ANSWERS = """
    completion answer response output reply assistant label category class target intent queue
    department 答案 回答 回复 答复 标准答案 输出 标签 类别 分类 意图 队列 部门 处理部门 code
"""
SPLITS = ("split", "subset", "fold", "数据集", "划分")
_SAMPLE = 50  # records that a format must be able to read


@dataclass(frozen=True, slots=True)
class Doubt:
    """A choice that the file does not settle.

    Attributes:
        key: `answer` or `question`.
        asks: it as a sentence for people.
        options: the columns that it may be, the likeliest first.
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


def guess(records: Sequence[Mapping[str, Any]], chosen: Mapping[str, str] | None = None) -> Guess:
    """The format and the columns of records.

    Args:
        records: as they were read; all are looked at.
        chosen: `question` and `answer` as somebody said them.

    Raises:
        InvalidInput: no record, a chosen column that is not there, or nothing that could be learnt.
    """
    chosen = chosen or {}
    if not records:
        raise InvalidInput("the file has no rows", hint="its first line names the columns")
    names = [name for name in records[0] if isinstance(name, str)]
    for what, name in chosen.items():
        if name not in names:
            raise InvalidInput(
                f"there is no column `{name}` for the {what}",
                hint=f"the columns are {', '.join(f'`{column}`' for column in names)}",
            )
    known = None if chosen else _readable(records, names)
    if known is not None:
        return Guess(known, {})
    texts = [name for name in names if _is_text(records, name)]
    if not texts:
        raise InvalidInput(
            "no column holds text", hint="see `adapters formats` for what rows can look like"
        )
    if len(texts) == 1 and not chosen:
        whole = next(name for name in FORMATS if FORMATS[name].learnt_whole)
        (wanted,) = FORMATS[whole].columns
        return Guess(whole, {} if texts[0] == wanted else {wanted: texts[0]})
    question, answer, doubts = _pair(records, texts, chosen)
    renamed = {"prompt": question, "completion": answer}
    pairs = next(name for name in FORMATS if renamed.keys() <= {*FORMATS[name].columns})
    return Guess(pairs, {k: v for k, v in renamed.items() if k != v}, doubts)


def _readable(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The format that reads the records as they are, and of several the one that reads most."""
    found: list[tuple[int, str]] = []
    for name in FORMATS:
        known = FORMATS[name]
        read = sum(column in names for column in known.columns)
        if read == 0 or known.learnt_whole:
            continue
        try:
            for record in records[:_SAMPLE]:
                known.read(Columns(record, {}))
        except FormatFault:
            continue
        found.append((read, name))
    return max(found, key=lambda one: one[0])[1] if found else None


def _pair(
    records: Sequence[Mapping[str, Any]], texts: list[str], chosen: Mapping[str, str]
) -> tuple[str, str, tuple[Doubt, ...]]:
    """Question and answer, with what is not sure about them."""
    doubts = []
    answer = chosen.get("answer") or _named(texts, ANSWERS)
    question = chosen.get("question") or _named(
        [name for name in texts if name != answer], QUESTIONS
    )
    rest = [name for name in texts if name not in (answer, question, *chosen.values())]
    # What is told of least often and shortest is the likeliest label, the longest the question.
    rest.sort(key=lambda name: (len({record[name] for record in records}), _length(records, name)))
    if answer is None:
        if not rest:
            raise InvalidInput(
                f"`{question}` is the only column of text: there is nothing to answer",
                hint="name the columns: `--question COLUMN --answer COLUMN`",
            )
        answer = rest.pop(0)
        doubts.append(
            Doubt("answer", "Which column holds what is to be answered?", (answer, *rest))
        )
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


def split_column(records: Sequence[Mapping[str, Any]]) -> str | None:
    """A column that says on which side each row is, if there is one."""
    for name in SPLITS:
        values = {str(record.get(name, "")).lower() for record in records}
        if "train" in values and values <= {"train", "test", "validation", "valid", "val", "dev"}:
            return name
    return None


def _named(names: Sequence[str], likely: str) -> str | None:
    folded = {unicodedata.normalize("NFKC", name).strip().lower(): name for name in names}
    return next((folded[name] for name in likely.split() if name in folded), None)


def _is_text(records: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a column is text that says something: not numbers, dates or keys of their own."""
    values = [record.get(name) for record in records]
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
    return sum(len(record[name] or "") for record in records) / len(records)
