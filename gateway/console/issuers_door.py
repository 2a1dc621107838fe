"""The way to an issuer and back: what was asked, until the browser brings the answer.

Invariants: an answer counts once, within ten minutes, and only in the browser that asked: its
cookie names the question; the code is exchanged with the verifier that never left this process; the
token is verified as one that comes over the API is, and must carry the question's nonce.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from adapterworks.gateway.tokens.discovery import secure
from adapterworks.gateway.tokens.issuer import Issuer, bad_token
from adapterworks.manifests.errors import Unavailable

T = TypeVar("T")
SECONDS = 600.0
_MOST = 1000
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """One login that was begun."""

    state: str
    verifier: str
    nonce: str
    back: str
    next: str
    ends: float


class IssuersDoor:
    """The logins that were begun at one gateway."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._asked: OrderedDict[str, Question] = OrderedDict()

    @property
    def host(self) -> str:
        """The issuer's host, for people."""
        return urlsplit(self._issuer.trusted.issuer).hostname or ""

    async def aside(self, work: Callable[[], T]) -> T:
        """Do `begin` or `answered`; see `Issuer.aside`."""
        return await self._issuer.aside(work)

    def begin(self, back: str, next_page: str) -> tuple[Question, str]:
        """A question, and the address where the browser is to ask it; it asks the issuer.

        Args:
            back: the address that the issuer sends the browser to.
            next_page: where it goes on afterwards.

        Raises:
            Unavailable: the issuer does not answer.
        """
        state, verifier, nonce = (secrets.token_urlsafe(48) for _ in range(3))
        asked = Question(state, verifier, nonce, back, next_page, time.time() + SECONDS)
        begin = secure(str(self._issuer.endpoints().get("authorization_endpoint", "")))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        trusted = self._issuer.trusted
        query = {
            "response_type": "code",
            "client_id": trusted.client_id,
            "redirect_uri": back,
            "scope": " ".join(trusted.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        self._asked[state] = asked
        while len(self._asked) > _MOST:
            self._asked.popitem(last=False)
        return asked, f"{begin}{'&' if urlsplit(begin).query else '?'}{urlencode(query)}"

    def question(self, cookie: str | None, state: str) -> Question | None:
        """The question that an answer belongs to, which is answered now; None if it is none."""
        if not hmac.compare_digest((cookie or "").encode(), state.encode()):
            return None
        asked = self._asked.pop(state, None)
        return None if asked is None or asked.ends < time.time() else asked

    def answered(self, asked: Question, code: str) -> tuple[str, str]:
        """The token for a code, and its person; asks the issuer.

        Raises:
            Unauthorized: the token does not count.
            Unavailable: the issuer does not answer.
        """
        trusted = self._issuer.trusted
        told = _post(
            secure(str(self._issuer.endpoints().get("token_endpoint", ""))),
            {
                "grant_type": "authorization_code",
                "client_id": trusted.client_id,
                "code": code,
                "redirect_uri": asked.back,
                "code_verifier": asked.verifier,
            },
        )
        token = told.get("id_token")
        if not isinstance(token, str):
            raise bad_token()
        return token, self._issuer.person(self._issuer.claims(token, nonce=asked.nonce))


def _post(url: str, fields: Mapping[str, str]) -> dict[str, Any]:
    import httpx2

    try:
        with httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            answer = client.post(url, data=dict(fields))
        values = answer.json()
    except (httpx2.RequestError, ValueError, RecursionError) as error:
        raise Unavailable(f"`{url}` does not answer: {type(error).__name__}") from error
    return values if isinstance(values, dict) else {}
