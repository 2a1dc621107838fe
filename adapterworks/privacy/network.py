"""Addresses on the network that are somebody's: e-mail, and public IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

# Scripts written without spaces: what stands before an address there is no part of it.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f"
_EMAIL = re.compile(
    rf"(?:(?:[^\W{_UNSPACED}]|[.+%'-]){{1,64}}|[{_UNSPACED}.+-]{{1,64}})"
    r"@(?:[\w-]{1,63}\.)+(?:[A-Za-z]{2,24}|[^\W\d_]{2,24})"
)
# As people write it for people: jane (at) example (dot) org.
_AT = re.compile(r"[\[({](?:at|ät)[\])}]", re.IGNORECASE)
_SPELT = re.compile(
    r"[\w.+-]{1,64} ?[\[({](?:at|ät)[\])}] ?[\w-]{1,63}"
    r"(?: ?(?:\.|[\[({](?:dot|punkt)[\])}]) ?[\w-]{1,63}){1,4}",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![0-9A-Za-z_.:-])\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z_]|[.-][0-9A-Za-z])")
_IPV6 = re.compile(
    r"(?<![0-9A-Za-z_:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_:])"
)
_VERSION = re.compile(r"(?i:version|release|build|版本|版|\bv)[ :：.]{0,3}$")


def find_addresses(text: str) -> Iterator[tuple[str, int, int]]:
    """Kind and half-open span of each; private, reserved and documented addresses are nobody's."""
    for pattern in (_EMAIL, _SPELT) if "@" in text or _AT.search(text) else ():
        for match in pattern.finditer(text):
            yield "e-mail address", *match.span()
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            if _is_public(match[0]) and not _VERSION.search(text[: match.start()][-12:]):
                yield "IP address", *match.span()


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False
