"""Authorization code with PKCE on a loopback address (RFC 8252): the browser asks, we are told.

Invariants: the code is taken once, with our `state` only, and exchanged with the verifier that
never left this process; the issuer's addresses are HTTPS or this machine.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from adapterworks.login.store import Login, claims_of
from adapterworks.manifests.errors import InvalidInput, Refused, Unavailable
from adapterworks.manifests.hosts import is_loopback
from adapterworks.registry.remotes.http.unreached import unreached

METADATA = "/.well-known/oauth-protected-resource"
_TIMEOUT_S = 30.0
_DONE = (
    b"<!doctype html><meta charset=utf-8><title>adapters login</title>"
    b"<p>You are logged in, and may close this page."
)
_NOT_DONE = _DONE.replace(
    b"You are logged in, and", b"That did not work; the terminal says why. You"
)


@dataclass(frozen=True, slots=True)
class Offered:
    """Whom a registry's server takes tokens of, and as which client to ask for them."""

    issuer: str
    client_id: str
    scopes: Sequence[str]


def offered_by(registry: str) -> Offered:
    """What a server says of its issuer.

    Raises:
        InvalidInput: it takes none.
        Unavailable: it does not answer.
    """
    values = _json("GET", registry + METADATA)
    if values is None:
        raise InvalidInput(
            f"`{registry}` takes no logins",
            hint="ask for a token (`adapters registry token create`) and set "
            "`ADAPTERS_REGISTRY_TOKEN`; or name an issuer in `[registry.oidc]` of its gateway.toml",
        )
    try:
        return Offered(
            str(values["authorization_servers"][0]),
            str(values["adapters_client_id"]),
            tuple(map(str, values["scopes_supported"])),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise Unavailable(f"`{registry}` does not say how to log in") from error


def log_in(offered: Offered, show: Callable[[str], None], *, seconds: float = 300.0) -> Login:
    """Have a person log in.

    Args:
        show: given the address that their browser is to open.
        seconds: how long they may take.

    Raises:
        Refused: the issuer, or the person, said no.
        Unavailable: nobody came back in time, or the issuer does not answer.
    """
    endpoints = _endpoints(offered.issuer)
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    with _Listener(state) as listener:
        query = {
            "response_type": "code",
            "client_id": offered.client_id,
            "redirect_uri": listener.address,
            "scope": " ".join(offered.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        begin = endpoints["authorization_endpoint"]
        show(f"{begin}{'&' if urlsplit(begin).query else '?'}{urlencode(query)}")
        told = listener.wait(seconds)
    if "error" in told:
        raise Refused(f"the issuer says: {told.get('error_description') or told['error']}")
    login = _exchange(
        offered.issuer,
        offered.client_id,
        endpoints["token_endpoint"],
        grant_type="authorization_code",
        code=told["code"],
        redirect_uri=listener.address,
        code_verifier=verifier,
    )
    if claims_of(login.token).get("nonce") != nonce:
        raise Refused("the issuer's answer is not to what was asked", hint="log in again")
    return login


def renewed(login: Login) -> Login:
    """Another token in the place of one that ends.

    Raises:
        Refused: the issuer wants the person to log in again.
        Unavailable: it does not answer.
    """
    if login.renewal is None:
        raise Refused("the login has ended", hint="run `adapters login` again")
    return _exchange(
        login.issuer,
        login.client_id,
        login.token_endpoint,
        renewal=login.renewal,
        grant_type="refresh_token",
        refresh_token=login.renewal,
    )


def _exchange(
    issuer: str, client: str, endpoint: str, *, renewal: str | None = None, **fields: str
) -> Login:
    values = _json("POST", endpoint, data={"client_id": client, **fields})
    if values is None or "id_token" not in values:
        raise Refused("the issuer gives no token", hint="run `adapters login` again")
    token = str(values["id_token"])
    try:
        expires = float(claims_of(token)["exp"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Unavailable("the issuer gives something that is no token") from error
    kept = values.get("refresh_token", renewal)
    return Login(issuer, client, endpoint, expires, token, None if kept is None else str(kept))


def _endpoints(issuer: str) -> Mapping[str, str]:
    values = _json("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
    if values is None or values.get("issuer") != issuer:
        raise Unavailable(f"`{issuer}` does not say that it is an issuer")
    found = {name: values.get(name) for name in ("authorization_endpoint", "token_endpoint")}
    for name, address in found.items():
        if not isinstance(address, str):
            raise Unavailable(f"`{issuer}` names no `{name}`")
        _require_secure(address)
    return {name: str(address) for name, address in found.items()}


def _require_secure(address: str) -> None:
    parts = urlsplit(address)
    local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise InvalidInput(
            f"`{address}` is not asked: who is on the way could read what is sent",
            hint="an issuer's addresses begin with https://",
        )


def _json(method: str, url: str, *, data: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The JSON object that is answered; None if another status than 200 is.

    Raises:
        Unavailable: it does not answer, or has a fault or too much to do.
    """
    import httpx2

    _require_secure(url)
    try:
        with httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            answer = client.request(method, url, data=None if data is None else dict(data))
        values = answer.json() if answer.status_code == 200 else None
    except httpx2.RequestError as error:
        why = unreached(url, error) or (f"`{url}` does not answer: {type(error).__name__}", None)
        raise Unavailable(why[0], hint=why[1]) from error
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"`{url}` does not answer with an object") from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unavailable(
            f"`{url}` answers with status {answer.status_code}", hint="try it again later"
        )
    if values is not None and not isinstance(values, dict):
        raise Unavailable(f"`{url}` does not answer with an object")
    return values


class _Listener:
    """Takes the browser's way back, once, on a port of this machine."""

    def __init__(self, state: str) -> None:
        told: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # a browser opens connections that it asks nothing on

            def do_GET(self) -> None:
                query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
                given = query.get("state", "").encode()
                ours = secrets.compare_digest(given, state.encode())
                good = ours and ("code" in query or "error" in query) and not told
                if good:
                    told.append(query)
                self.send_response(200 if good else 400)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(_DONE if good and "code" in query else _NOT_DONE)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what is asked has the code in it."""

        self._told = told
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._server.timeout = 0.5
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def wait(self, seconds: float) -> dict[str, str]:
        """What the browser brought."""
        end = time.monotonic() + seconds
        while not self._told:
            if time.monotonic() > end:
                raise Unavailable("nobody logged in", hint="run `adapters login` again")
            self._server.handle_request()
        return self._told[0]
