"""What people call columns, and which of them a name tells apart; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.drafting.sides import folded
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.texts import one_line

# Names by which people call what is asked and what is to be answered, the likeliest first.
QUESTIONS = """
    prompt question query instruction input user ticket message request
    问题 提问 问 用户问题 客户问题 标准问题 工单 工单内容 问题描述 描述 输入 请求 诉求 内容 文本
    text sentence content title 标题 咨询 咨询内容 frage pregunta domanda pytanie
"""
ANSWERS = """
    completion answer response output reply assistant label category class target intent queue
    department 答案 回答 回复 答复 标准答案 输出 标签 类别 分类 意图 队列 部门 处理部门 code
    意见 处理意见 处理结果 antwort réponse reponse respuesta risposta odpowiedź
"""


_LONGEST = 40  # characters of a cell that are shown
_WIDE = "，；"  # Chinese punctuation, which parts no cells


def is_name(name: Any) -> bool:
    """Whether a record's key names a column: `""` is what a table gives one without a name."""
    return isinstance(name, str) and bool(name.strip())


def require_named(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """See that nothing is passed over for want of a name, but numbers of rows, as pandas writes.

    Args:
        names: of the columns that have one.

    Raises:
        InvalidInput: a column without a name holds something else, or the only name is of several.
    """
    held = [str(v) for one in records for name, v in one.items() if not is_name(name) and v]
    if len(set(held)) < len(held) or not all(value.isdigit() for value in held):
        told = next((value for value in held if not value.isdigit()), held[0])
        raise InvalidInput(
            f"a column without a name holds `{one_line(told[:_LONGEST])}`",
            hint="write its name into the first line of the file",
        )
    wide = [mark for mark in _WIDE if len(names) == 1 and mark in names[0]]
    if wide:
        raise InvalidInput(
            f"the first line names one column, `{one_line(names[0][:_LONGEST])}`: `{wide[0]}` "
            "parts no cells",
            hint="write `,` or `;` between the cells of every line",
        )


def likely(names: Sequence[str], words: str) -> str | None:
    """The column of the likeliest name; where none has one, the first that ends in one.

    Args:
        words: `QUESTIONS` or `ANSWERS`.
    """
    known = {folded(name): name for name in names}
    exact = next((known[name] for name in words.split() if name in known), None)
    return exact or next((name for name in names if _said_in(name) == words), None)


def _said_in(name: str) -> str | None:
    """`QUESTIONS` or `ANSWERS`, by a part of a longer name: `User Question`, `客服回答`; None if it
    says neither. A name with both is the answer's: `问题类别`."""
    last = folded(name.replace("_", " ").replace("-", " ")).rpartition(" ")[2]
    for listed in (ANSWERS, QUESTIONS):
        words = listed.split()
        if last in words or any(len(word) > 1 and not word.isascii() and word in name
                                for word in words):  # fmt: skip
            return listed
    return None
