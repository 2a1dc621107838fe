"""References, parsed once into frozen values.

    ref       = name | name "@" version | name "@" digest | name ":" alias
    name      = lower-case letters, digits, "-", "_" and "."; starts with a letter or digit; ≤ 64
    version   = positive integer without leading zero
    digest    = "sha256:" 64 hex digits
    alias     = same alphabet as name, ≤ 64, not all digits

A bare name means the alias `prod`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput

DEFAULT_ALIAS = "prod"
NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN)
OWN_PREFIX = "ft."
_OWNED = re.compile(r"ft\.([0-9a-f]{16})\.")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference; exactly one of `version`, `digest` and `alias` is set."""

    name: str
    version: int | None = None
    digest: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}@{self.version}"
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.alias}"


def check_name(name: str, what: str = "an adapter") -> str:
    """Return `name` if it is a valid name of an adapter, or of what is named like one.

    Raises:
        InvalidInput: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"`{name}` is not {what} name",
            hint="use lower-case letters, digits, `-`, `_` and `.`, at most 64, "
            "starting with a letter or digit",
        )
    return name


def tenant_in(name: str) -> str | None:
    """The id of the tenant whose own jobs make releases of this name (`ft.TENANT.…`), if any do."""
    match = _OWNED.match(name)
    return None if match is None else f"tn_{match[1]}"


def check_alias(alias: str) -> str:
    """Return `alias` if it is a valid alias.

    Raises:
        InvalidInput: it is not.
    """
    if not _NAME.fullmatch(alias) or alias.isdigit():
        raise InvalidInput(
            f"`{alias}` is not an alias",
            hint="use lower-case letters, digits, `-`, `_` and `.`; a number alone is a version",
        )
    return alias


def parse_ref(text: str) -> Ref:
    """Parse a reference.

    Raises:
        InvalidInput: the text does not follow the grammar above.
    """
    if "@" in text:
        name, _, selector = text.partition("@")
        check_name(name)
        if _VERSION.fullmatch(selector):
            return Ref(name, version=int(selector))
        if DIGEST_PATTERN.fullmatch(selector):
            return Ref(name, digest=selector)
        raise InvalidInput(
            f"`{text}` is not a reference: `{selector}` is neither a version nor a digest",
            hint=_meant(name, selector),
        )
    if ":" in text:
        name, _, alias = text.partition(":")
        return Ref(check_name(name), alias=check_alias(alias))
    return Ref(check_name(text), alias=DEFAULT_ALIAS)


def _meant(name: str, selector: str) -> str:
    """What may have been meant by what stands after the `@`."""
    if _VERSION.fullmatch(selector[1:]) and selector[0] in "vV":
        return f"write `{name}@{selector[1:]}`; `{selector}` is the tag of a push"
    if selector == "latest":
        return (
            f"nothing is called latest here: `{name}` is `{name}:{DEFAULT_ALIAS}`, and "
            f"`adapters list {name}` has the newest version first"
        )
    if _NAME.fullmatch(selector) and not selector.isdigit():
        return f"an alias is written `{name}:{selector}`, a version `{name}@7`"
    return f"write `{name}@7` or `{name}@sha256:…` (64 hex digits)"
