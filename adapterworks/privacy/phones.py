"""Phone numbers: valid ones of a numbering plan, as people write them (phonenumbers)."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A number within a longer token is part of it: of a price, a version, a hash.
_JOINED_BEFORE = re.compile(r"[0-9A-Za-z_#@=/]$|\d[-.,:]$|[A-Za-z]-$", re.ASCII)
_JOINED_AFTER = re.compile(r"[0-9A-Za-z_]|[-.,:/]\d|-[A-Za-z]", re.ASCII)
# Where a number without a country code is written with a zero before it.
_WITH_ZERO = frozenset({"DE", "FR", "IT", "GB", "CN", "JP", "KR", "NL", "BR"})
# A date, or a number with decimals: shorter numbers of some plans look like these.
_NO_PHONE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{4}|\d{4}([./-])\d{1,2}\2\d{1,2}|\d+[.,]\d+")
# Ten digits without a sign between them may be anything, unless the text says what they are.
_CALLED = re.compile(
    r"(?i:call|tel|phone|mobile|cell|fax|ring|dial|text|reach|contact|sms|whatsapp|电话|手机|传真|"
    r"ruf|handy|mobil)"
)
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}")


def find_phones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Half-open spans of phone numbers.

    Args:
        regions: ISO 3166 codes of those without a country code; of none, only those with one.
    """
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in regions or (None,):
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            before, after = text[max(0, match.start - 2) : match.start], text[match.end :][:2]
            if _JOINED_AFTER.match(after):
                continue
            if not match.raw_string.startswith("+") and (
                _JOINED_BEFORE.search(before)
                or not _is_national(match.raw_string, region)
                or (
                    match.raw_string.isdigit()
                    and region not in _WITH_ZERO
                    and not _CALLED.search(text[max(0, match.start - 40) : match.start])
                )
            ):
                continue
            yield match.start, match.end


def _is_national(raw: str, region: str | None) -> bool:
    """Whether a number without a plus is written as they are within the region."""
    if _NO_PHONE.fullmatch(raw):
        return False
    digits = re.sub(r"\D", "", raw)
    if digits.startswith("00"):
        return True
    if region == "CN" and _CHINESE_MOBILE.fullmatch(digits):
        return True
    return region not in _WITH_ZERO or digits.startswith("0")
