"""Words of any script, and texts that are alike but for case, spacing and punctuation. Pure.

A word keeps its combining marks: without them Hindi's `की` and `का`, or an Arabic word under two
vocalisations, would be one. Scripts that are written without spaces (Chinese, Japanese, Thai, …)
count every character as a word, so one rule serves all languages.

Invariant: `alike` forgives punctuation and no symbol of mathematics or money: `C++` and `C#`, `-1`
and `1`, `<5` and `>5` are different answers.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Thai to Myanmar, Khmer, kana, CJK ideographs (extension A, unified, compatibility, B and later).
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
UNSPACED += "\uf900-\ufaff\U00020000-\U0003ffff"
HANGUL = "\uac00-\ud7af"
_LAST_MARK = 0x1E95B  # combining marks stand below this, but for variation selectors
# Compatibility form would make `5²` 52 and `½` 1⁄2.
_RAISED = re.compile("([\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209f\u2150-\u215f\u2189])")
_MINUS = str.maketrans("\u2212\ufe63\uff0d", "---")
_BULLET = re.compile(r"^[ \t]*[-+*>•][ \t]+(?=\S)", re.MULTILINE)
_FORMULA = re.compile(r"\$([-+.,\d]+)\$")  # LaTeX's marks around a number


def words(text: str) -> list[str]:
    """The words of a text, case-folded and in compatibility form (full-width = half-width)."""
    return word_pattern(UNSPACED).findall(folded(text))


def alike(text: str) -> str:
    """A text by which two texts that differ in case, spaces, punctuation, bullets or pictures only
    are equal; without a word, itself: `+`, `★★★` and nothing at all are different answers."""
    plain = folded(text)
    shown = _FORMULA.sub(r"\1", _BULLET.sub("", plain.translate(_MINUS)))
    found = [part for part in _parts().findall(shown) if part]
    said = " ".join("".join(part.split()) for part in found)
    has_word = word_pattern(UNSPACED).search(plain) is not None
    return said if has_word else " ".join(plain.split())


def folded(text: str) -> str:
    """Case-folded and in compatibility form, raised digits and fractions as they are."""
    pieces = _RAISED.split(text)
    pieces[::2] = [unicodedata.normalize("NFKC", piece) for piece in pieces[::2]]
    return "".join(pieces).casefold()


@cache
def word_pattern(unspaced: str, left_out: str = "") -> re.Pattern[str]:
    """A word with its marks, or one character of a script without spaces with its marks.

    Args:
        unspaced: the characters that are words each, as the inside of a character class.
        left_out: of a word's characters, those that are none here.
    """
    letter, mark = rf"[^\W{left_out}{unspaced}]", rf"[{marks()}]"
    return re.compile(rf"[{unspaced}]{mark}*|(?:{letter}|{mark})+")


@cache
def _parts() -> re.Pattern[str]:
    """Words; signs of numbers (`-1`, `.5`, `5 %`) and of names (`C#`, `A-`); symbols of mathematics
    and of money wherever they stand."""
    near = rf"[\w{marks()}]"
    signs = (
        rf"(?<!{near})(?<![.,)\]])-(?=\.?\d)",
        rf"(?<!{near})\.(?=\d)",
        rf"(?<={near})[#-]+(?![#\w{marks()}-])",
        r"(?<=\d)[ \t]?[%‰]",
    )
    symbols = "".join(
        re.escape(chr(code))
        for code in range(_LAST_MARK)
        if unicodedata.category(chr(code)) in ("Sm", "Sc") and chr(code) not in "|~"
    )
    return re.compile("|".join((word_pattern(UNSPACED).pattern, *signs, rf"[{symbols}]+")))


@cache
def marks() -> str:
    """Unicode's combining marks, as the inside of a character class."""
    found = [c for c in range(0x300, _LAST_MARK) if unicodedata.category(chr(c))[0] == "M"]
    found += range(0xE0100, 0xE01F0)
    ranges: list[list[int]] = []
    for code in found:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
