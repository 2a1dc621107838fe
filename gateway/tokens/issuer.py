"""Persons by OpenID Connect: a token of the issuer → who it is and which role it has.

Invariants:
- a token counts only if one of the issuer's published keys signed it, by an algorithm that the
  configuration lists and that is of the key's own type; it is for us, has not expired, says who;
- keys are asked for when they are needed: again after ten minutes, at once when none that is known
  has signed a token (they rotate), but not more often than every ten seconds, whoever asks; while
  the issuer is away those that are known count for an hour;
- whoever shows a token of a key that is known waits for nobody who asks the issuer, and nobody else
  for its threads;
- what is refused is refused with one sentence that says nothing of the token's text.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tokens.discovery import Fetch, discover, fetch_json, secure
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Caller, names_a_person
from adapterworks.manifests.errors import Refused, Unavailable

T = TypeVar("T")
FRESH_S, AGAIN_S, STALE_S = 600.0, 10.0, 3600.0
_LEEWAY_S = 60
_MOST_TOKEN = 16 * 1024
_THREADS = 4
_TYPES = {"R": "RSA", "P": "RSA", "E": "EC"}  # an algorithm's first letter → its keys' type


class NoRole(Refused):
    """Somebody is known, and has no group that may do anything."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer, and what is believed of its tokens; `OidcTable` says what each is.

    Attributes:
        audience: whom tokens must be for.
    """

    issuer: str
    client_id: str
    audience: str
    person: str
    groups: str
    roles: Mapping[str, Role]
    algorithms: Sequence[str]
    scopes: Sequence[str]


class Issuer:
    """An issuer whose tokens open the registry.

    Args:
        fetch: reads a JSON object from an address.
        now: a clock that is never set back, in seconds.
    """

    def __init__(
        self,
        trusted: Trusted,
        *,
        fetch: Fetch | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trusted = trusted
        self._fetch = fetch or fetch_json
        self._now = now
        self._lock = threading.Lock()
        self._keys: list[dict[str, Any]] = []
        self._fetched = self._tried = float("-inf")
        self._said: tuple[float, dict[str, Any] | Unavailable] | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="issuer")

    async def aside(self, work: Callable[[], T]) -> T:
        """Do what may ask the issuer, which may hang, in threads that nothing else waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def caller(self, shown: str) -> Caller:
        """Who shows a token.

        Raises:
            Unauthorized: it does not count, whatever the reason.
            NoRole: it does, and its person may do nothing here.
            Unavailable: the issuer's keys are not known and cannot be asked for.
        """
        claims = self.claims(shown)
        person = self.person(claims)
        found = groups_of(claims, self.trusted.groups)
        roles = [self.trusted.roles[group] for group in found if group in self.trusted.roles]
        if not roles:
            raise NoRole(
                f"`{person}` has none of the groups that may use this registry",
                hint=f"ask whoever runs it; groups are read from the claim `{self.trusted.groups}`",
            )
        identity = f"{claims['iss']}\0{claims['sub']}".encode()
        token = f"oidc-{hashlib.sha256(identity).hexdigest()[:16]}"
        return Caller(person, token, max(roles), person)

    def claims(self, shown: str, *, nonce: str | None = None) -> Mapping[str, Any]:
        """What a token says, once it counts.

        Args:
            nonce: that it must carry, where it was asked for with one.

        Raises:
            Unauthorized, Unavailable: as `caller`.
        """
        import jwt

        if len(shown) > _MOST_TOKEN:
            raise bad_token()
        try:
            header = jwt.get_unverified_header(shown)
            algorithm, kid = str(header.get("alg")), header.get("kid")
            if algorithm not in self.trusted.algorithms:
                raise bad_token()
            claims = self._decoded(shown, algorithm, kid)
        except jwt.PyJWTError as error:
            raise bad_token() from error
        if nonce is not None and claims.get("nonce") != nonce:
            raise bad_token()
        return claims

    def person(self, claims: Mapping[str, Any]) -> str:
        """Whom logs name.

        Raises:
            Unauthorized: the token does not say it, or as an address that was not verified.
        """
        person = claims.get(self.trusted.person)
        if self.trusted.person == "email" and claims.get("email_verified") is not True:
            raise bad_token()
        if not isinstance(person, str) or not names_a_person(person):
            raise bad_token()
        return person

    def endpoints(self) -> dict[str, Any]:
        """What the issuer says of itself; it is asked as its keys are, each ten minutes.

        Raises:
            Unavailable: it does not answer, or says that it is another one.
        """
        now = self._now()
        if self._said is not None:
            at, said = self._said
            if isinstance(said, dict) and now - at <= FRESH_S:
                return said
            if isinstance(said, Unavailable) and now - at <= AGAIN_S:
                raise Unavailable(said.message, hint=said.hint, retry_after=AGAIN_S - (now - at))
        try:
            told = discover(self.trusted.issuer, self._fetch)
        except Unavailable as error:
            self._said = now, error
            raise
        self._said = now, told
        return told

    def _decoded(self, shown: str, algorithm: str, kid: object) -> dict[str, Any]:
        """The claims of a token that one of the keys signed, as they are published now."""
        import jwt

        for again in (False, True):
            try:
                claims: dict[str, Any] = jwt.decode(
                    shown,
                    self._key(algorithm, kid, again=again),
                    algorithms=[algorithm],
                    audience=self.trusted.audience,
                    issuer=self.trusted.issuer,
                    leeway=_LEEWAY_S,
                    options={"require": ["exp", "iss", "aud", "sub"]},
                )
            except jwt.InvalidSignatureError:
                if again:  # where tokens name no key, this is how a new one is noticed
                    raise
            else:
                return claims
        raise AssertionError("the second time returns or raises")

    def _key(self, algorithm: str, kid: object, *, again: bool) -> Any:
        import jwt

        chosen, age = _chosen(self._keys, algorithm, kid), self._now() - self._fetched
        if age > FRESH_S or chosen is None or again:
            known = age <= STALE_S
            if self._lock.acquire(blocking=not known):
                try:
                    now = self._now()
                    self._ask_again(now, now - self._fetched, now - self._tried)
                finally:
                    self._lock.release()
                chosen = _chosen(self._keys, algorithm, kid)
            elif chosen is None or again:
                raise Unavailable(f"`{self.trusted.issuer}` is being asked", retry_after=1.0)
        if chosen is None:
            raise bad_token()
        return jwt.PyJWK(chosen, algorithm=algorithm)

    def _ask_again(self, now: float, age: float, waited: float) -> None:
        """The keys as they are published now, or those that are known while they may count."""
        if waited <= AGAIN_S:
            if age > STALE_S:
                raise Unavailable(
                    f"`{self.trusted.issuer}` does not answer", retry_after=AGAIN_S - waited
                )
            return
        self._tried = now
        try:
            address = secure(str(self.endpoints().get("jwks_uri", "")))
            keys = self._fetch(address).get("keys")
            if not isinstance(keys, list):
                raise Unavailable(f"`{address}` has no keys")
        except Unavailable:
            self._said = None  # another address may have them by now
            if age > STALE_S:
                raise
            return
        self._keys = [key for key in keys if isinstance(key, dict)]
        self._fetched = now


def is_of_an_issuer(shown: str) -> bool:
    """Whether it has the form of a signed token: nothing that we make has."""
    return shown.startswith("ey") and shown.count(".") == 2


def bad_token() -> Unauthorized:
    """The error of a token that does not count, whatever the reason."""
    return Unauthorized(
        "the issuer's token is not valid here, or has expired", hint="run `adapters login` again"
    )


def _chosen(keys: list[dict[str, Any]], algorithm: str, kid: object) -> dict[str, Any] | None:
    """The key that a token names; the only one that could be meant, if it names none."""
    kind = "OKP" if algorithm == "EdDSA" else _TYPES[algorithm[0]]
    fit = [
        key
        for key in keys
        if key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    return fit[0] if len(fit) == 1 else None


def groups_of(claims: Mapping[str, Any], name: str) -> list[str]:
    """The words of a claim: a list's, or those between spaces; dots lead into tables."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
