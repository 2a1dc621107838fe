"""Authorization as a registry asks for it: basic, or a bearer token of its token server.

Invariants: a password is sent over TLS, or to this machine, and nowhere else unless plain http was
asked for; a token server that a registry names over plain http is refused; no other host is told
who we are; a request is repeated once, never in a loop.
Specification: https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx2

from adapterworks.manifests.errors import Refused
from adapterworks.registry.remotes.oci.credentials import Credential
from adapterworks.registry.remotes.oci.names import OciName
from adapterworks.registry.remotes.oci.wire import is_safe

_PARAMETER = re.compile(r'([a-zA-Z_]{1,32})="((?:[^"\\]|\\.)*)"')
_MAX = 64 << 10  # characters of a token


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for (`WWW-Authenticate`)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str) -> Challenge | None:
    """The challenge of a 401; `None` for one that we know no answer to."""
    scheme, _, rest = header.strip().partition(" ")
    scheme = scheme.lower()
    if scheme not in ("basic", "bearer"):
        return None
    found = {key.lower(): value for key, value in _PARAMETER.findall(rest[:4096])}
    return Challenge(
        scheme, found.get("realm", ""), found.get("service", ""), found.get("scope", "")
    )


class Authorizer(httpx2.Auth):
    """The `auth` of an `httpx2` client for one repository; keeps the token it was given.

    Args:
        credential: who we are there; `None` asks as anybody.
        actions: `pull`, or `pull,push`.
        plain: whether tokens and passwords may go over http to another machine.
    """

    def __init__(
        self, name: OciName, credential: Credential | None, actions: str, *, plain: bool
    ) -> None:
        self._name, self._credential, self._actions = name, credential, actions
        self._plain = plain
        self._header: str | None = None

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See `httpx2.Auth.sync_auth_flow`; only a token server's answer is read here."""
        if not self._is_own(request.url):  # where uploads are sent on to
            yield request
            return
        if self._header is not None:
            request.headers["Authorization"] = self._header
        response = yield request
        # Where a redirect ended is not the registry: it asks for nothing of ours.
        if response.status_code != 401 or not self._is_own(response.url):
            return
        challenge = parse_challenge(response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return
        if challenge.scheme == "basic":
            self._header = self._basic()
            if self._header is None:
                return
        else:
            answer = yield self._token_request(challenge)
            answer.read()
            self._header = _bearer(answer)
            if self._header is None and answer.status_code != 200:
                return  # why it gives none is what the registry's refusal comes to
        # Without a token too: else what the token server answered would pass for the registry's.
        if self._header is not None:
            request.headers["Authorization"] = self._header
        yield request

    def _is_own(self, url: httpx2.URL) -> bool:
        """Whether it is the registry itself, over what a password may travel."""
        own = httpx2.URL(f"{url.scheme}://{self._name.host}")
        return url.netloc == own.netloc and is_safe(url, self._name, plain=self._plain)

    def _basic(self) -> str | None:
        if self._credential is None or self._credential.identity_token is not None:
            return None
        pair = f"{self._credential.user}:{self._credential.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _token_request(self, challenge: Challenge) -> httpx2.Request:
        try:
            url = httpx2.URL(challenge.realm)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if not is_safe(url, self._name, plain=self._plain):
            raise Refused(
                f"`{self._name.host}` sends us for a token to `{challenge.realm[:200]}`, which is "
                "not https",
                hint="no password is sent there; `--plain-http` allows it in a network of your own",
            )
        scope = challenge.scope or f"repository:{self._name.repository}:{self._actions}"
        asked: dict[str, Any] = {"service": challenge.service, "scope": scope}
        if self._credential is not None and self._credential.identity_token is not None:
            form = {
                **asked,
                "grant_type": "refresh_token",
                "client_id": "adapterworks",
                "refresh_token": self._credential.identity_token,
            }
            return httpx2.Request("POST", url, data=form)
        basic = self._basic()
        headers = {"Authorization": basic} if basic is not None else {}
        return httpx2.Request("GET", url.copy_merge_params(asked), headers=headers)


def _bearer(answer: httpx2.Response) -> str | None:
    """The header that a token server's answer makes; `None` where it gives no token."""
    if answer.status_code != 200:
        return None
    try:
        said = answer.json()
        token = said.get("token") or said.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(token, str) or len(token) > _MAX or not token.isascii():
        return None
    return f"Bearer {token}"
