"""Connections whose server stopped answering: cut from outside, since nothing else ends the wait.

A network that drops packets without a word (or a proxy that stops forwarding, whose own kernel
still acknowledges) leaves a thread in a read that no server-side limit can end.

Invariant: a statement that lasts longer than its limit here, which is above the server's own, has
its connection shut down; the thread that waits for it gets the driver's error, and goes on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DisconnectionError

_LOOK_S = 0.5


class HungConnections:
    """Of one engine; its thread runs only while statements do.

    Args:
        seconds: how long a statement may last.
    """

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[int, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        event.listen(engine, "checkout", self._ping)
        event.listen(engine, "before_cursor_execute", self._executes)
        event.listen(engine, "after_cursor_execute", self._ended)
        event.listen(engine, "handle_error", self._ended)
        # There is no event after these two; the connection is given back soon, or used again.
        event.listen(engine, "commit", self._executes)
        event.listen(engine, "rollback", self._executes)
        event.listen(engine, "checkin", self._ended)

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()

    def _ping(self, raw: Any, *_: Any) -> None:
        """See whether a pooled connection still works, before anything is asked of it.

        SQLAlchemy's own look (`pool_pre_ping`) would not be seen here.

        Raises:
            DisconnectionError: it does not; the pool takes another one.
        """
        self._begins(raw)
        try:
            before, raw.autocommit = raw.autocommit, True
            with raw.cursor() as cursor:
                cursor.execute("SELECT 1")
            raw.autocommit = before
        except Exception as error:
            raise DisconnectionError("the connection is gone") from error
        finally:
            self._ended()

    def _executes(self, connection: Any, *_: Any) -> None:
        self._begins(connection.connection.dbapi_connection)

    def _begins(self, raw: Any) -> None:
        with self._lock:
            self._running[threading.get_ident()] = (time.monotonic(), raw)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._watch, name="index connections", daemon=True
                )
                self._thread.start()

    def _ended(self, *_: Any) -> None:
        with self._lock:
            self._running.pop(threading.get_ident(), None)

    def _watch(self) -> None:
        while True:
            self._closed.wait(_LOOK_S)
            with self._lock:
                if not self._running or self._closed.is_set():
                    self._thread = None
                    return
                now = time.monotonic()
                late = [raw for began, raw in self._running.values() if now - began > self._seconds]
            for raw in late:
                _shut_down(raw)


def _shut_down(raw: Any) -> None:
    with (
        contextlib.suppress(Exception),  # it ended by itself meanwhile
        socket.socket(fileno=os.dup(raw.pgconn.socket)) as copy,
    ):
        copy.shutdown(socket.SHUT_RDWR)
