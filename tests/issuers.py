"""A real issuer of OpenID Connect (`oidc-provider-mock`, on Authlib), and who logs in there."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.warm.python import warm_python

_ROOT = Path(__file__).parents[1]

# Whom it knows: groups are what roles come from.
PERSONS: dict[str, dict[str, Any]] = {
    "ann": {"preferred_username": "ann", "groups": ["ml-leads"]},
    "ben": {"preferred_username": "ben", "groups": ["ml-leads", "staff"]},
    "cid": {"preferred_username": "cid", "groups": ["ml-readers", "staff"]},
    "dee": {"preferred_username": "dee", "groups": ["staff"]},
}
CLIENT = "adapters"
_SECONDS = 30.0


@dataclass(frozen=True)
class RealIssuer:
    """A running one."""

    url: str
    port: int

    def visit(self, address: str, person: str) -> str:
        """What a person's browser does at the address that asks to log in; where it is sent."""
        with httpx.Client(timeout=_SECONDS) as browser:
            page = browser.get(address)
            assert page.status_code == 200, page.text
            answer = browser.post(address, data={"sub": person})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def token(self, person: str, *, client: str = CLIENT, **more: str) -> str:
        """An ID token of a person for a client."""
        back = "http://localhost:1/back"
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": back,
            "scope": "openid profile email",
            **more,
        }
        address = str(httpx.URL(f"{self.url}/oauth2/authorize", params=query))
        code = parse_qs(urlsplit(self.visit(address, person)).query)["code"][0]
        answer = httpx.post(
            f"{self.url}/oauth2/token",
            data={
                "grant_type": "authorization_code",
                "client_id": client,
                "code": code,
                "redirect_uri": back,
            },
            timeout=_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id_token"])

    def sent(self) -> list[dict[str, str]]:
        """What it was sent: each request's path and fields."""
        return list(httpx.get(f"{self.url}/asked", timeout=_SECONDS).json())

    def holds_pkce(self) -> bool:
        """Whether the last code was exchanged with the verifier of its challenge."""
        asked = self.sent()
        (*_, challenge) = [one["code_challenge"] for one in asked if "code_challenge" in one]
        (*_, verifier) = [one["code_verifier"] for one in asked if "code_verifier" in one]
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        return len(verifier) >= 43 and digest.decode().rstrip("=") == challenge

    def keys(self) -> list[dict[str, Any]]:
        """What it publishes."""
        return list(httpx.get(f"{self.url}/jwks", timeout=_SECONDS).json()["keys"])


@contextmanager
def real_issuer(*, port: int = 0, lasts: float = 3600.0) -> Iterator[RealIssuer]:
    """Run one in a process of its own, with a key of its own; its tokens last so many seconds."""
    program = f"from tests.issuers import serve; serve({port}, {lasts!r})"
    command = [warm_python("gateway"), "-c", program]
    with subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            at = int(process.stdout.readline())
            yield RealIssuer(f"http://localhost:{at}", at)
        finally:
            process.kill()


def serve(port: int, lasts: float) -> None:
    """Be the issuer, until killed. It takes public clients, which have no secret, as Authlib's
    grants do where they are told to; at `/asked` it says what it was sent."""
    import flask
    import werkzeug.serving
    from oidc_provider_mock import User, _app

    asked: list[dict[str, str]] = []

    def note() -> None:
        asked.append({"path": flask.request.path, **flask.request.values.to_dict()})

    for grant in (_app.AuthorizationCodeGrant, _app.RefreshTokenGrant):
        grant.TOKEN_ENDPOINT_AUTH_METHODS = [*grant.TOKEN_ENDPOINT_AUTH_METHODS, "none"]
    users = [User(sub=name, claims=claims) for name, claims in PERSONS.items()]
    app = _app.app(user_claims=users, access_token_max_age=timedelta(seconds=lasts))
    app.before_request(note)
    app.add_url_rule("/asked", view_func=lambda: flask.jsonify(asked))
    server = werkzeug.serving.make_server("localhost", port, app, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
