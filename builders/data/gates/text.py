"""Text as gates compare it: normalised words, and shingles without boilerplate.

Scripts written without spaces (Chinese, Japanese, Thai, …) count every character as a word, so one
rule serves all languages. Shingles that many rows share are the rows' template, and are no evidence
that two rows are alike.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

from adapterworks.builders.data.rows import Row

# Thai to Myanmar, Khmer, kana, CJK ideographs (extension A, unified, compatibility, B and later).
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_UNSPACED += "\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
EDGE = "\x00"  # marks begin and end, so that "typhoid" is not contained in "typhoid fever"
COMMON_ROWS, COMMON_SHARE = 5, 0.01

Shingles = frozenset[tuple[str, ...]]


def words(text: str) -> list[str]:
    """The words of a text, case-folded and in compatibility form (full-width = half-width)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """A text by which two texts that differ only in case, spaces or punctuation are equal.

    A text without a single word is itself: `+` and `-` are different answers.
    """
    return " ".join(words(text)) or text.strip()


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
    """Everything of a row but its system turn, its further answers included."""
    if row.text is not None:
        return row.text
    turns = [*row.messages, *(turn for answer in row.others for turn in answer)]
    return "\n".join(turn["content"] for turn in turns if turn["role"] != "system")


def answer_texts(row: Row) -> list[str]:
    """Every answer of a row, the best first, as answers are compared."""
    return [normalise("\n".join(turn["content"] for turn in answer)) for answer in row.answers]


def shingles(text: str, width: int) -> Shingles:
    """All runs of `width` words, the text's edges counting as words."""
    tokens = [EDGE, *words(text), EDGE]
    if len(tokens) == 2:
        return frozenset()
    last = max(len(tokens) - width, 0)
    return frozenset(tuple(tokens[at : at + width]) for at in range(last + 1))
