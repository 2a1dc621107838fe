"""Listening sockets, made before anything expensive starts, so that a taken port fails at once."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput, Unavailable

# `sun_path` of `sockaddr_un`, less its closing zero: 108 bytes on Linux, 104 on macOS (unix(7)).
MOST_BYTES = 103
_DESCRIPTORS = Path("/proc/self/fd")


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises:
        Unavailable: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio switches Nagle off only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another gateway may be running: `adapters ps`; or choose another `--port`",
        ) from error
    listener.setblocking(False)
    return listener


def bind_unix(path: Path) -> socket.socket:
    """A bound unix socket that only this user can open; replaces a stale one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            listener.bind(address)
    except BaseException:
        listener.close()
        raise
    path.chmod(0o600)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """What the kernel is told for a unix socket at this path, to bind or to connect.

    A path that is too long for it is named through a descriptor of its folder, for as long as the
    block lasts.

    Raises:
        InvalidInput: it is too long, and this system has no names for descriptors.
    """
    if len(os.fsencode(path)) <= MOST_BYTES:
        yield str(path)
        return
    if not _DESCRIPTORS.is_dir():
        raise InvalidInput(
            f"`{path}` is too long for a socket: {len(os.fsencode(path))} bytes, at most "
            f"{MOST_BYTES}",
            hint="set ADAPTERS_HOME to a shorter path; a link to the folder will do",
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_DESCRIPTORS / str(folder) / path.name)
    finally:
        os.close(folder)
