"""Taking personal data and secrets out of a text, or out of every text of a JSON value.

Invariant: what comes out holds nothing that the detectors find; where that cannot be reached,
`Unredactable` is raised and nothing comes out.
"""

from __future__ import annotations

import re
from typing import Any

from adapterworks.privacy.credentials import find_secrets
from adapterworks.privacy.personal import Found, find_personal_data

PASSES = 4  # a mark can join what stood apart; what is left after so many is not let through
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?s:.*?)(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
REGIONS = ("US", "CN", "DE")


class Unredactable(ValueError):
    """A text holds what the detectors find however often it is taken out."""


def find(text: str, regions: tuple[str, ...] = REGIONS) -> list[Found]:
    """Personal data and secrets in a text, in order, without overlaps.

    Args:
        regions: ISO 3166 codes of phone numbers without a country code.
    """
    found = [Found("private key", *match.span()) for match in _PRIVATE_KEY.finditer(text)]
    for secret, kind in sorted(find_secrets(text).items(), key=lambda pair: -len(pair[0])):
        at = text.find(secret)
        while at >= 0:
            found.append(Found(kind, at, at + len(secret)))
            at = text.find(secret, at + len(secret))
    found += find_personal_data(text, regions)
    return _joined(found)


def redact(text: str, regions: tuple[str, ...] = REGIONS) -> tuple[str, tuple[str, ...]]:
    """The text with findings replaced by `‹kind›`, and the kinds that were found.

    Raises:
        Unredactable: something is still found afterwards.
    """
    kinds: dict[str, None] = {}
    for _ in range(PASSES):
        found = find(text, regions)
        if not found:
            return text, tuple(kinds)
        kinds |= dict.fromkeys(item.kind for item in found)
        parts, at = [], 0
        for item in found:
            parts += [text[at : item.start], f"‹{item.kind}›"]
            at = item.stop
        text = "".join((*parts, text[at:]))
    raise Unredactable(f"{', '.join(kinds)} is found again after it was taken out")


def redact_value(value: Any, regions: tuple[str, ...] = REGIONS) -> tuple[Any, tuple[str, ...]]:
    """A JSON value with every text in it redacted, keys of objects and numbers included.

    A number in which something is found becomes a text: a telephone number or a card's is one
    without quotation marks too.

    Raises:
        Unredactable: as `redact`.
    """
    kinds: dict[str, None] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            text, found = redact(value, regions)
            kinds.update(dict.fromkeys(found))
            return text
        if isinstance(value, int | float) and not isinstance(value, bool):
            text, found = redact(str(value), regions)
            kinds.update(dict.fromkeys(found))
            return text if found else value
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {walk(name): walk(item) for name, item in value.items()}
        return value

    return walk(value), tuple(kinds)


def _joined(found: list[Found]) -> list[Found]:
    """What overlaps is one finding, of the kind that was found first."""
    spans: list[tuple[int, Found]] = []
    for rank, item in sorted(enumerate(found), key=lambda pair: pair[1].start):
        if not spans or item.start >= spans[-1][1].stop:
            spans.append((rank, item))
            continue
        before, last = spans[-1]
        kind = item.kind if rank < before else last.kind
        spans[-1] = min(rank, before), Found(kind, last.start, max(last.stop, item.stop))
    return [item for _, item in spans]
