"""Personal data in a text: addresses and numbers that belong to somebody.

Numbers count only if they are possible ones: check digits through python-stdnum, numbering plans
through phonenumbers. Names of people and postal addresses are not looked for.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from adapterworks.privacy.network import find_addresses
from adapterworks.privacy.numbers import find_numbers
from adapterworks.privacy.phones import find_phones

_DIGITS = re.compile(r"\d(?:[^\d\n]{0,3}\d){6}")  # anything shorter is no phone, card or id number
_ID_WORDS = re.compile(r"(?i:pass|ausweis|id card|identity card|护照|身份证)")

# Full-width letters, digits and signs, and the dashes and spaces that look like ASCII's: the same
# number of characters, so that what is found stands at the same place.
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), ord("-"))
_PLAIN |= dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"), ord(" "))

# Where numbers without a country code are looked for, by language.
_REGIONS = {"en": "US", "zh": "CN", "de": "DE", "fr": "FR", "es": "ES", "it": "IT", "ja": "JP"}
_REGIONS |= {"pt": "BR", "ko": "KR", "nl": "NL", "pl": "PL", "ru": "RU", "hi": "IN"}


class Found(NamedTuple):
    """One finding: what it is, and the half-open span where it stands."""

    kind: str
    start: int
    stop: int


def regions_of(languages: Iterable[str]) -> tuple[str, ...]:
    """The countries whose phone numbers are looked for in texts of these languages (ISO 639-1)."""
    return tuple(_REGIONS[code] for code in languages if code in _REGIONS)


def plain(text: str) -> str:
    """The text with the signs that only look different written as ASCII's, of the same length."""
    return text if text.isascii() else text.translate(_PLAIN)


def find_personal_data(text: str, regions: tuple[str, ...] = ("US",)) -> list[Found]:
    """What looks like personal data, in order, without overlaps.

    Args:
        text: any text.
        regions: ISO 3166 codes for phone numbers without a country code.
    """
    text = plain(text)
    found = [Found(*item) for item in find_addresses(text)]
    if _DIGITS.search(text) or _ID_WORDS.search(text):
        found += [Found(*item) for item in find_numbers(text)]
    if _DIGITS.search(text):
        found += [Found("phone number", *span) for span in find_phones(text, regions)]
    return _apart(found)


def _apart(found: Iterable[Found]) -> list[Found]:
    """Those that overlap none before them, by where they stand: earlier detectors are the more
    specific ones. n log n comparisons, however many there are."""
    kept: list[Found] = []
    starts: list[int] = []
    for item in found:
        at = bisect_left(starts, item.stop)
        if at and kept[at - 1].stop > item.start:
            continue
        kept.insert(at, item)
        starts.insert(at, item.start)
    return kept


def mask(text: str, found: list[Found]) -> str:
    """One line of the text around the first finding, with findings replaced by their kinds."""
    shown, at = "", 0
    for item in found:
        shown += text[at : item.start] + f"‹{item.kind}›"
        at = item.stop
    shown = " ".join((shown + text[at:]).split())
    first = max(shown.find("‹") - 80, 0)
    return ("…" if first else "") + shown[first : first + 160]
