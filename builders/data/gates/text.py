"""What gates compare of a row: its questions, its answers, all that is learnt or shown.

Shingles that many rows share are the rows' template, and are no evidence that two rows are alike.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.data.wording import UNSPACED, alike, words

_SEALED_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
EDGE = "\x00"  # marks begin and end, so that "typhoid" is not contained in "typhoid fever"
COMMON_ROWS, COMMON_SHARE = 5, 0.01
# Of the rows: what is in so many is their template, however little else they say.
RULING_SHARE = 0.2

Shingles = frozenset[tuple[str, ...]]


def sealed_words(text: str) -> list[str]:
    """The words that seals are made of. Seals are kept for good, so these stay as they were when
    words had no combining marks."""
    return _SEALED_WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(turn: Message) -> str:
    """A turn by which two that differ only in case, spaces or punctuation are equal; what it calls
    is compared exactly."""
    return "\n".join((alike(turn["content"]), *calls(turn)))


def exactly(turns: Iterable[Message]) -> str:
    """What some turns say and call, to the letter: spaces around it and Unicode's forms aside."""
    said = [(unicodedata.normalize("NFC", t["content"]).strip(), *calls(t)) for t in turns]
    return json.dumps(said, ensure_ascii=False)


def calls(turn: Message) -> list[str]:
    """The functions that a turn calls with their arguments, as JSON; not the calls' ids."""
    return [_json(call.get("function", call)) for call in turn.get("tool_calls", ())]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def hashed(*texts: str) -> bytes:
    """Sixteen bytes that stand for some texts: equal ones have equal ones, and of a million million
    different ones no two are likely to (1 in 10^14)."""
    lengths = ",".join(str(len(text)) for text in texts)
    return blake2b(
        "\0".join((lengths, *texts)).encode(errors="surrogatepass"), digest_size=16
    ).digest()


def question_text(row: Row) -> str:
    """What the answer is asked for: all turns before it; of a text row, the text."""
    if row.text is not None:
        return row.text
    return "\n".join(turn["content"] for turn in row.prompt if turn["role"] != "system")


def full_text(row: Row) -> str:
    """Everything of a row but its system turn and tools: calls and further answers included."""
    if row.text is not None:
        return row.text
    return "\n".join(text for turn in _turns(row) for text in (turn["content"], *calls(turn)))


def prose(row: Row) -> str:
    """`full_text` without what is called, which is in no language."""
    if row.text is not None:
        return row.text
    return "\n".join(turn["content"] for turn in _turns(row))


def _turns(row: Row) -> Iterator[Message]:
    turns = (*row.messages, *(turn for answer in row.others for turn in answer))
    return (turn for turn in turns if turn["role"] != "system")


def shown_texts(row: Row) -> Iterator[tuple[str, str]]:
    """All that a model is shown of a row or learns of it, in parts, each with what it is: the turns
    with what they call, further answers, the system turn and the tools."""
    yield "", full_text(row)
    for turn in row.messages:
        if turn["role"] == "system":
            yield "system turn", turn["content"]
    if row.tools:
        yield "tools", _json([*row.tools])


def answer_texts(row: Row) -> list[str]:
    """Every answer of a row, the best first, as answers are compared."""
    return ["\n".join(map(normalise, answer)) for answer in row.answers]


def shingles(text: str, width: int) -> Shingles:
    """All runs of `width` words, the text's edges counting as words."""
    tokens = [EDGE, *words(text), EDGE]
    if len(tokens) == 2:
        return frozenset()
    last = max(len(tokens) - width, 0)
    return frozenset(tuple(tokens[at : at + width]) for at in range(last + 1))
