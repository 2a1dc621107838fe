"""A registry behind a real socket, and the same registry as it is here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.server import uvicorn_config
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.registry import RemoteRegistry
from tests.gateway.registry_http.conftest import Offered, offer, open_at
from tests.gateway.running import Loop, serve
from tests.registry.releases import publish


@dataclass
class Server:
    """A server and what it was asked.

    Attributes:
        asked: method, path and `Range` of each request.
        cut: bytes after which the next answers of blobs break off, one each.
        received: bytes of files that came in.
    """

    url: str
    offered: Offered
    home: Path
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    received: int = 0
    opened: list[RemoteRegistry] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        """The registry as it is here."""
        return self.offered.registry

    def remote(self, role: Role = Role.ADMIN) -> RemoteRegistry:
        """The registry as somebody with a role has it elsewhere."""
        token, home = self.offered.tokens[role], self.home / role.word
        self.opened.append(RemoteRegistry(self.url, token, home, author="elsewhere"))
        return self.opened[-1]


def _recording(app: Any, server: Server) -> Any:
    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        asked_range = headers.get(b"range", b"").decode()
        server.asked.append((scope["method"], scope["path"], asked_range))
        left = None
        if scope["method"] == "GET" and "/blobs/" in scope["path"] and server.cut:
            left = server.cut.pop(0)

        async def cut(message: Any) -> None:
            nonlocal left
            if left is not None and message["type"] == "http.response.body":
                message = {**message, "body": message["body"][:left], "more_body": True}
                await send(message)
                raise ConnectionError("cut off")
            await send(message)

        async def counted() -> Any:
            message = await receive()
            if scope["method"] == "PUT":
                server.received += len(message.get("body", b""))
            return message

        await app(scope, counted, cut)

    return recorded


@contextmanager
def served_at(registry: Registry, home: Path) -> Iterator[Server]:
    """A server of a registry; `home` is where others have it."""
    loop = Loop()
    server = Server("", offer(registry), home)
    app = _recording(create_registry_app(server.offered.desk), server)
    served = loop.run(serve(app, uvicorn_config(app, http=HttpTable())))
    server.url = served.url
    yield server
    for remote in server.opened:
        remote.close()
    loop.run(served.stop())
    loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a registry with three versions of `medical` and one of `legal`."""
    place = tmp_path_factory.mktemp("offered")
    with open_at(place) as registry:
        for number in (1, 2, 3):
            publish(registry, place, number)
        publish(registry, place, 4, name="legal", method="dora", plan=f"sha256:{'4' * 64}")
        registry.promote("medical", 1, "prod", who="ann")
        registry.promote("medical", 2, "prod", who="ann", why="better")
        registry.promote("medical", 3, "prod", who="ann", weight=20)
        registry.log.deprecate("medical", 1, who="ann", why="old")
        with served_at(registry, place / "elsewhere") as server:
            yield server
