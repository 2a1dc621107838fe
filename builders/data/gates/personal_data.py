"""Personal data: what a model has learnt by heart it may tell anyone.

Numbers count only if they are possible ones: check digits through python-stdnum, numbering plans
through phonenumbers. Names and postal addresses are not looked for. Reports name the kind and show
the row with the finding masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import full_text

_EMAIL = re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}")
_DIGITS = re.compile(r"\d(?:[^\d\n]{0,3}\d){6}")  # anything shorter is no phone, card or id number

# Where numbers without a country code are looked for, by language.
_REGIONS = {"en": "US", "zh": "CN", "de": "DE", "fr": "FR", "es": "ES", "it": "IT", "ja": "JP"}
_REGIONS |= {"pt": "BR", "ko": "KR", "nl": "NL", "pl": "PL", "ru": "RU", "hi": "IN"}


class Found(NamedTuple):
    """One finding: what it is, and the half-open span where it stands."""

    kind: str
    start: int
    stop: int


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows with personal data, in all splits."""
    regions = tuple(_REGIONS[code] for code in context.languages if code in _REGIONS)
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            text = full_text(row)
            if found := find_personal_data(text, regions):
                kinds = ", ".join(dict.fromkeys(item.kind for item in found))
                excerpt = mask(text, found)
                offences.append(offence(split, index, row, kinds, excerpt))
    return Finding(tuple(offences), float(len(offences)))


def find_personal_data(text: str, regions: tuple[str, ...] = ("US",)) -> list[Found]:
    """What looks like personal data, in order, without overlaps.

    Args:
        text: any text.
        regions: ISO 3166 codes for phone numbers without a country code.
    """
    found = [Found("e-mail address", *match.span()) for match in _EMAIL.finditer(text)]
    if _DIGITS.search(text):
        found += _numbers(text)
        found += _phones(text, regions)
    kept: list[Found] = []
    for item in found:  # earlier detectors are the more specific ones
        if all(item.stop <= other.start or other.stop <= item.start for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda item: item.start)


def mask(text: str, found: list[Found]) -> str:
    """One line of the text around the first finding, with findings replaced by their kinds."""
    shown, at = "", 0
    for item in found:
        shown += text[at : item.start] + f"‹{item.kind}›"
        at = item.stop
    shown = " ".join((shown + text[at:]).split())
    first = max(shown.find("‹") - 80, 0)
    return ("…" if first else "") + shown[first : first + 160]


def _numbers(text: str) -> Iterator[Found]:
    for kind, pattern, is_valid in _detectors():
        for match in pattern.finditer(text):
            if is_valid(match[0]):
                yield Found(kind, *match.span())


def _detectors() -> list[tuple[str, re.Pattern[str], Callable[[str], bool]]]:
    from stdnum import iban, luhn, verhoeff
    from stdnum.br import cpf
    from stdnum.cn import ric
    from stdnum.es import dni
    from stdnum.fr import nir
    from stdnum.it import codicefiscale
    from stdnum.kr import rrn
    from stdnum.us import ssn

    def is_card(text: str) -> bool:
        digits = re.sub(r"\D", "", text)
        return luhn.is_valid(digits) and len(set(digits)) > 1

    def is_aadhaar(text: str) -> bool:
        return verhoeff.is_valid(text.replace(" ", ""))

    return [
        ("bank account (IBAN)", _IBAN, iban.is_valid),
        ("payment card", _CARD, is_card),
        ("national id (CN)", _RIC, ric.is_valid),
        ("social security number (US)", _SSN, ssn.is_valid),
        ("social security number (FR)", _NIR, nir.is_valid),
        ("tax number (BR)", _CPF, cpf.is_valid),
        ("tax number (IT)", _CODICE, codicefiscale.is_valid),
        ("national id (ES)", _DNI, dni.is_valid),
        ("national id (KR)", _RRN, rrn.is_valid),
        ("national id (IN)", _AADHAAR, is_aadhaar),
    ]


_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", re.ASCII)
_CARD = re.compile(r"(?<![\d.-])[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?!-?\.?\d)|"
                   r"(?<![\d.-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?!-?\.?\d)", re.ASCII)  # fmt: skip
_RIC = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{16}[\dXx](?![0-9A-Za-z])", re.ASCII)
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", re.ASCII)
_NIR = re.compile(r"(?<!\d)[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}(?!\d)", re.ASCII)
_CPF = re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)", re.ASCII)
_CODICE = re.compile(r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b", re.ASCII)
_DNI = re.compile(r"\b\d{8}-?[A-Z]\b", re.ASCII)
_RRN = re.compile(r"(?<!\d)\d{6}-\d{7}(?!\d)", re.ASCII)
_AADHAAR = re.compile(r"(?<!\d)[2-9]\d{3} \d{4} \d{4}(?! ?\d)", re.ASCII)


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[Found]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in regions or (None,):
        matcher = PhoneNumberMatcher(text, region, leniency=Leniency.STRICT_GROUPING)
        for match in matcher:
            yield Found("phone number", match.start, match.end)


GATE = Gate(
    name="personal_data",
    description="E-mail addresses, phone, card, account and national id numbers.",
    check=check,
)
