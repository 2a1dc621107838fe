"""The registry's tests run on SQLite and a real PostgreSQL, on folders and real S3 servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.registry.blobs.open import open_blobs
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.registry import Registry
from tests.postgres import new_database, postgres_server
from tests.registry.s3_servers import S3Server, moto_server, nanio_server

__all__ = ["moto_server", "nanio_server", "postgres_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'index.db'}"
    return new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def registry(database_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry with local blobs, on both kinds of database."""
    opened = Registry.open(
        database=database_url, blobs=str(tmp_path / "blobs"), home=tmp_path / "home"
    )
    yield opened
    opened.close()


@pytest.fixture
def local_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on SQLite and local blobs, for what does not depend on the database."""
    opened = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    )
    yield opened
    opened.close()


@pytest.fixture(params=["local", "nanio", "moto"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty blob store of every kind."""
    if request.param == "local":
        return open_blobs(str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    server.use(monkeypatch)
    return open_blobs(f"s3://{server.new_bucket()}/some/prefix")
