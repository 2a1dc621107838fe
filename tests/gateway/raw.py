"""HTTP/1.1 as bytes on a socket: what no client library would send."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


def connected(url: str) -> socket.socket:
    """A connection of one's own to the server of `url`."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=60.0)


def send(url: str, data: bytes, *, seconds: float = 10.0) -> list[Answer]:
    """Send bytes and read every answer until the server closes the connection."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            while chunk := connection.recv(1 << 16):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it had read everything
    return _answers(received)


def drip(
    url: str, pieces: Iterator[bytes], *, pause: float, first: bytes = b"", seconds: float = 10.0
) -> tuple[list[Answer], float]:
    """Send `first` at once, then a piece every `pause` seconds, until the server closes.

    Returns:
        the answers, and the seconds until then.

    Raises:
        TimeoutError: it did not close within `seconds`.
    """
    address = urlsplit(url)
    received = b""
    began = time.monotonic()
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(first)
        connection.settimeout(pause)
        while True:
            try:
                chunk = connection.recv(1 << 16)
                received += chunk
                if not chunk:
                    break
            except TimeoutError:
                if time.monotonic() - began > seconds:
                    raise
            except ConnectionResetError:
                break
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(next(pieces))
    return _answers(received), time.monotonic() - began


def request(
    method: str,
    target: str,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    body: Any = None,
    close: bool = True,
) -> bytes:
    """One request. `body` is sent as JSON, or as it is if it is bytes."""
    content = (
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    lines = [f"{method} {target} HTTP/1.1", "host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    if content:
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
    if close:
        lines.append("connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def _answers(data: bytes) -> list[Answer]:
    """Parse answers that say their length or are chunked."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if headers.get("transfer-encoding") == "chunked":
            body, data = _dechunked(data)
        else:
            length = int(headers.get("content-length", 0))
            body, data = data[:length], data[length:]
        answers.append(Answer(int(status.split()[1]), headers, body))
    return answers


def _dechunked(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data
