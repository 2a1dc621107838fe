"""An index that is away, locked or silent: nothing waits for ever, and all of it is one error."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database, IndexAway
from tests.postgres import new_database


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("x", None, Exception("server closed")),
        InterfaceError("x", None, Exception("connection already closed")),
        InternalError("x", None, Exception("cannot")),
        PoolTimeout("QueuePool limit of size 5 overflow 10 reached"),
    ],
)
def test_every_way_of_being_away_is_one_error(tmp_path: Path, error: Exception) -> None:
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    with pytest.raises(IndexAway) as caught, database.read():
        raise error
    assert isinstance(caught.value, Unavailable)
    assert caught.value.__cause__ is error
    database.close()


def test_a_state_of_its_own_does_not_wait_for_the_registry(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    aside = database.aside("limits", patience=0.2)
    try:
        with database.write() as held:
            held.execute(sa.text("CREATE TABLE t (x INTEGER)"))
            with aside.write(lock="limits") as connection:
                connection.execute(sa.text("CREATE TABLE own (x INTEGER)"))
        assert (tmp_path / "index-limits.db").exists()
        with aside.read() as connection, database.read() as other:
            assert sa.inspect(connection).get_table_names() == ["own"]
            assert sa.inspect(other).get_table_names() == ["t"]
    finally:
        aside.close()
        database.close()


@pytest.fixture
def postgresql_url(postgres_server: str) -> str:
    return new_database(postgres_server)


def test_locks_of_several_names_do_not_wait_for_each_other(postgresql_url: str) -> None:
    database = Database(postgresql_url, patience=1.0)
    try:
        with database.write(), database.write(lock="limits"), database.write(lock="metering"):
            pass
        with (
            database.write(lock="limits"),
            pytest.raises(IndexAway, match="lock timeout"),
            database.write(lock="limits"),
        ):
            pass
    finally:
        database.close()


def test_a_statement_and_an_idle_transaction_have_limits(postgresql_url: str) -> None:
    database = Database(postgresql_url, patience=2.0)
    try:
        with database.read() as connection:
            shown = {
                name: connection.scalar(sa.text(f"SHOW {name}"))
                for name in (
                    "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout",
                )
            }  # fmt: skip
    finally:
        database.close()
    assert shown == {
        "lock_timeout": "2s",
        "statement_timeout": "7s",
        "idle_in_transaction_session_timeout": "14s",
    }


class Hole:
    """A proxy that can stop forwarding without a word: its kernel still acknowledges."""

    def __init__(self, host: str, port: int | None) -> None:
        self._target = host if port is None else (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.open = threading.Event()
        self.open.set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if isinstance(self._target, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            else:
                server = socket.create_connection(self._target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()
            source.close()

    def close(self) -> None:
        self._ended = True
        self.open.set()
        self._listener.close()


@pytest.fixture
def hole(postgresql_url: str) -> Iterator[tuple[Hole, str]]:
    url = sa.make_url(postgresql_url)
    folder = url.query.get("host")
    socket_path = f"{folder}/.s.PGSQL.{url.port or 5432}" if folder else url.host or "127.0.0.1"
    hole = Hole(str(socket_path), None if folder else url.port)
    through = url.set(host="127.0.0.1", port=hole.port, query={})
    yield hole, through.render_as_string(hide_password=False)
    hole.close()


@pytest.mark.slow
def test_a_network_that_went_silent_is_given_up_and_found_again(hole: tuple[Hole, str]) -> None:
    proxy, url = hole
    database = Database(url, patience=0.2)
    try:
        with database.read() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
        proxy.open.clear()
        began = time.monotonic()
        with pytest.raises(IndexAway), database.read() as connection:
            connection.scalar(sa.text("SELECT 2"))
        assert time.monotonic() - began < 120  # without limits: for ever
        proxy.open.set()
        deadline = time.monotonic() + 120
        while True:
            try:
                with database.read() as connection:
                    assert connection.scalar(sa.text("SELECT 3")) == 3
                break
            except IndexAway:
                assert time.monotonic() < deadline
    finally:
        database.close()
