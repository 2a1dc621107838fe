"""The gateways that run with this home, read and asked through their private sockets.

Invariant: a socket that nobody listens on any more is no gateway; only this user can open one.
"""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from adapterworks.gateway.http.sockets import unix_address
from adapterworks.manifests.errors import Refused, Unavailable

_SECONDS = 5.0
# A cold adapter is loaded and proved meanwhile; the gateway's own cold wait ends it earlier.
_LOAD_SECONDS = 600.0


def gateway_sockets(home: Path) -> list[Path]:
    """The private sockets in a home, whether somebody listens or not."""
    return sorted((home / "run").glob("gateway-*.sock"))


def running_gateways(home: Path) -> dict[Path, dict[str, Any]]:
    """Socket → what the gateway says of itself (`gateway/http/status.py`)."""
    found = {}
    for path in gateway_sockets(home):
        try:
            code, status = _ask(path, "GET", "/status", None, _SECONDS)
        except (OSError, HTTPException, ValueError):
            continue
        if code == 200:
            found[path] = status
    return found


def make_resident(path: Path, digest: str, *, pin: bool) -> list[str]:
    """Have a gateway load and prove a release now.

    Args:
        path: its socket.
        digest: of the release.
        pin: keep it loaded; releases of that name which no alias holds any more are let go.

    Returns:
        The engines that hold it.

    Raises:
        Refused: it may not be served there.
        Unavailable: the gateway does not answer, or not in time.
    """
    try:
        code, answer = _ask(
            path, "POST", "/resident", {"digest": digest, "pin": pin}, _LOAD_SECONDS
        )
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(
            f"the gateway at `{path}` does not answer: {error}", hint="see `adapters ps`"
        ) from error
    if code == 200:
        return [str(engine) for engine in answer["engines"]]
    if code == 404 and "error" not in answer:
        raise Unavailable(
            "the gateway was started by an older version, which cannot be asked to load",
            hint="restart `adapters serve`",
        )
    kind = Refused if answer.get("kind") == "refused" else Unavailable
    raise kind(str(answer.get("error", f"status {code}")), hint=answer.get("hint"))


def _ask(
    path: Path, method: str, target: str, body: Any, seconds: float
) -> tuple[int, dict[str, Any]]:
    connection = _UnixConnection(path, seconds)
    try:
        headers = {"content-type": "application/json"}
        content = None if body is None else json.dumps(body)
        connection.request(method, target, body=content, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else {}
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("gateway", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with unix_address(self._path) as address:
            self.sock.connect(address)
