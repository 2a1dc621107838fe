"""The registry over HTTP without a gateway: the application, and a client for each role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.routes.registry.desk import Desk, open_desk
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.registry import Registry


@dataclass
class Offered:
    """A registry that is offered: `ask(role)` is a client with a token of that role."""

    registry: Registry
    desk: Desk
    tokens: dict[Role, str]
    client: TestClient

    def ask(self, role: Role | None = Role.READER) -> TestClient:
        """A client with a token of a role; None: without one."""
        client = TestClient(self.client.app, raise_server_exceptions=False)
        if role is not None:
            client.headers["authorization"] = f"Bearer {self.tokens[role]}"
        return client

    def with_key(self, key: str) -> TestClient:
        """A client that shows something else."""
        client = self.ask(None)
        client.headers["authorization"] = f"Bearer {key}"
        return client


def open_at(place: Path) -> Registry:
    """An embedded registry in a folder."""
    return Registry.open(
        database=f"sqlite:///{place / 'index.db'}",
        blobs=str(place / "blobs"),
        home=place / "home",
    )


def offer(registry: Registry) -> Offered:
    """A registry that is offered, with a token of each role."""
    desk = open_desk(registry, None, HttpTable())
    tokens = {role: desk.tokens.create(role.word, role, who="me").text for role in Role}
    return Offered(registry, desk, tokens, TestClient(create_registry_app(desk)))


@pytest.fixture
def offered(tmp_path: Path) -> Iterator[Offered]:
    """An empty registry of this test's own that is offered."""
    with open_at(tmp_path) as registry:
        yield offer(registry)
