"""Numbers that name somebody: accounts, cards, national numbers (python-stdnum), passports.

Whatever has a check digit counts only if it is right. A passport's number has none that is written
beside it, so it counts only where the text says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache

Detector = tuple[str, re.Pattern[str], Callable[[str], bool]]


def find_numbers(text: str) -> Iterator[tuple[str, int, int]]:
    """Kind and half-open span of each, the more specific kinds first."""
    for kind, pattern, is_valid in _detectors():
        for match in pattern.finditer(text):
            if is_valid(match[0]):
                yield kind, *match.span()
    for match in _PASSPORT.finditer(text):
        if sum(letter.isdigit() for letter in match[1]) >= 2:
            yield "passport number", *match.span(1)


@lru_cache(maxsize=1)
def _detectors() -> tuple[Detector, ...]:
    from stdnum import iban, verhoeff
    from stdnum.br import cpf
    from stdnum.es import dni
    from stdnum.fr import nir
    from stdnum.it import codicefiscale
    from stdnum.kr import rrn
    from stdnum.us import ssn

    def is_aadhaar(text: str) -> bool:
        return verhoeff.is_valid(text.replace(" ", ""))

    return (
        ("bank account (IBAN)", _IBAN, iban.is_valid),
        ("payment card", _CARD, _is_card),
        ("national id (CN)", _RIC, _is_ric),
        ("social security number (US)", _SSN, ssn.is_valid),
        ("social security number (FR)", _NIR, nir.is_valid),
        ("tax number (BR)", _CPF, cpf.is_valid),
        ("tax number (IT)", _CODICE, codicefiscale.is_valid),
        ("national id (ES)", _DNI, dni.is_valid),
        ("national id (KR)", _RRN, rrn.is_valid),
        ("national id (IN)", _AADHAAR, is_aadhaar),
    )


def _is_card(text: str) -> bool:
    """A payment card's number: as long as its issuer's are (ISO/IEC 7812), and Luhn's digit."""
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    return _ISSUED.fullmatch(digits) is not None and luhn.is_valid(digits)


def _is_ric(text: str) -> bool:
    """A Chinese resident's number: GB 11643-1999, a date of birth and ISO 7064 MOD 11-2.

    The counties of the first six digits are not asked for: they are renamed and joined, and a
    number keeps the one in which it was given.
    """
    from stdnum.iso7064 import mod_11_2

    if text[:2] < "11" or text[:2] > "91":
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return mod_11_2.is_valid(text.upper()) and "1850" < text[6:10] < "2100"


_IBAN = re.compile(
    r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b", re.ASCII | re.IGNORECASE
)
_CARD = re.compile(
    r"(?<![0-9A-Za-z.-])(?:[2-6]\d{3}(?:[ .-]?\d{4}){3}(?:[ .-]?\d{1,3})?|"
    r"3\d{3}[ .-]?\d{6}[ .-]?\d{4,5})(?![0-9A-Za-z]|[-.]\d)",
    re.ASCII,
)
# Visa; Mastercard; American Express; Discover, UnionPay; JCB; Diners.
_ISSUED = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|"
    r"6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)
_RIC = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{16}[\dXx](?![0-9A-Za-z])", re.ASCII)
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", re.ASCII)
_NIR = re.compile(r"(?<!\d)[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}(?!\d)", re.ASCII)
_CPF = re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)", re.ASCII)
_CODICE = re.compile(r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b", re.ASCII)
_DNI = re.compile(r"\b\d{8}-?[A-Z]\b", re.ASCII)
_RRN = re.compile(r"(?<!\d)\d{6}-\d{7}(?!\d)", re.ASCII)
_AADHAAR = re.compile(r"(?<!\d)[2-9]\d{3} \d{4} \d{4}(?! ?\d)", re.ASCII)
_PASSPORT = re.compile(
    r"(?i:passport|reisepass|passn|pass-nr|personalausweis|ausweisn|id(?:entity)? card|护照|身份证)"
    r"[^\n\d]{0,24}?(?<![0-9A-Za-z])([A-Z]{0,2}[0-9CFGHJKLMNPRTVWXYZ]{7,9})(?![0-9A-Za-z])"
)
