"""Who calls: a frozen tenant with what it may use and how much.

Invariant: a base model is allowed only by a pattern that says `base:` (or is `*` alone), so a
pattern meant for adapters (`*-llama`) never opens a base; what a tenant's own jobs have made is
allowed to another only by a pattern that begins with `ft.`, so `*` does not open it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.patterns import BASE_PREFIX, opens
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.refs import OWN_PREFIX
from adapterworks.registry.exchanges.exchange import Share

# What tenants have made themselves: `ft.TENANT.…`, by the id that no other tenant ever has.
_OWNED = re.compile(r"ft\.(?:[0-9a-f]{16}|open)\.")
_PATTERN_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-*?[]!")
_BASE_ALPHABET = _PATTERN_ALPHABET | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ/@:")


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds; None is unlimited.

    Attributes:
        rpm: requests per minute.
        tpm: tokens (prompt + completion) per minute.
        max_concurrency: requests in flight at once.
        monthly_tokens: tokens per calendar month, UTC.
    """

    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    monthly_tokens: int | None = None

    def over(self, defaults: Limits) -> Limits:
        """These limits, with `defaults` where none is set."""
        return Limits(
            self.rpm or defaults.rpm,
            self.tpm or defaults.tpm,
            self.max_concurrency or defaults.max_concurrency,
            self.monthly_tokens or defaults.monthly_tokens,
        )


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as a request sees it.

    Attributes:
        allow: fnmatch patterns on adapter names; `base:PATTERN` for base models; `*` for all.
        cache_salt: secret and stable; keeps one tenant's prefix cache from answering another's
            timing (it is what the engine is given as `cache_salt`, whatever the client sent).
        weight: share of a busy engine relative to other tenants.
        consent: what may be kept of its traffic; None for nothing.
    """

    id: str
    name: str
    allow: tuple[str, ...]
    cache_salt: str
    limits: Limits = Limits()
    weight: float = 1.0
    consent: Consent | None = None

    def may_use(self, name: str) -> bool:
        """Whether the tenant may use adapter `name`, or base model `base:NAME`."""
        if _OWNED.match(name):
            return self.owns(name) or any(
                pattern.startswith(OWN_PREFIX) and fnmatchcase(name, pattern)
                for pattern in self.allow
            )
        return opens(self.allow, name)

    def shares(self, adapter: str) -> Share:
        """Who may learn from its answers of an adapter (or `base:NAME`), as it says now: nobody
        where nothing of them is kept any more."""
        if self.consent is None or not self.consent.covers(adapter):
            return "none"
        return self.consent.share

    def pseudonym(self, user: str) -> str:
        """What stands for an end user of the tenant's in what is kept: the same for the same, and
        nobody can tell of whom without the tenant's salt, which an erasure of the tenant replaces.

        Args:
            user: as the client said it; a name, an address. Of an open gateway, whose salt is
                everybody's, nothing stands for anybody.
        """
        if not user or self.id == OPEN_TENANT.id:
            return ""
        said = user.encode("utf-8", "surrogatepass")
        return hmac.new(self.cache_salt.encode(), b"user\n" + said, "sha256").hexdigest()[:32]

    @property
    def prefix(self) -> str:
        """What the names of the tenant's own releases begin with."""
        return prefix_of(self.id)

    def owns(self, name: str) -> bool:
        """Whether an adapter is one that the tenant's own jobs have made."""
        return name.startswith(self.prefix)

    def __repr__(self) -> str:  # the salt is a secret and must not reach a log through a repr
        return f"Tenant(id={self.id!r}, name={self.name!r})"


OPEN_TENANT = Tenant(id="open", name="open", allow=("*",), cache_salt="open")


def parse_allow(text: str | Iterable[str]) -> tuple[str, ...]:
    """Patterns from `medical,enterprise-*` (or an iterable of such), in order, without repeats.

    Raises:
        InvalidInput: no pattern, or one with a character that no name can have.
    """
    parts = text.split(",") if isinstance(text, str) else [p for t in text for p in t.split(",")]
    patterns = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not patterns:
        raise InvalidInput(
            "no adapter is allowed", hint="write `--allow 'medical,enterprise-*'`, or `'*'` for all"
        )
    for pattern in patterns:
        body = pattern.removeprefix(BASE_PREFIX)
        alphabet = _PATTERN_ALPHABET if body == pattern else _BASE_ALPHABET
        if not body or not set(body) <= alphabet:
            raise InvalidInput(
                f"`{pattern}` is not a pattern of adapter names",
                hint="use names as in `adapters list` with `*`, `?` and `[…]`; "
                "`base:NAME` allows a base model",
            )
    return patterns


def prefix_of(tenant: str) -> str:
    """What the names of a tenant's own releases begin with, by its id."""
    return f"{OWN_PREFIX}{tenant.removeprefix('tn_')}."
