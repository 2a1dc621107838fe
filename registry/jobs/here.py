"""The jobs of everybody, for whoever runs the registry: read, paused, resumed, cancelled.

`registry/remotes/http/jobs.py` has the same methods for a registry behind a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, lookup, queue, schema
from adapterworks.registry.jobs.events import Event
from adapterworks.registry.jobs.job import Job


class JobsHere:
    """The queue in a database, its tables migrated."""

    def __init__(self, database: Database) -> None:
        schema.migrate(database)
        self._database = database

    def listed(
        self,
        *,
        tenant: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], bool]:
        """Jobs, newest first, and whether there are more.

        Args:
            tenant: by its id.

        Raises:
            InvalidInput: `after` is no job.
        """
        states = (state,) if state else ()
        with self._database.read() as connection:
            return lookup.listed(
                connection, tenant=tenant, kind=kind, states=states, after=after, limit=limit
            )

    def get(self, job: str) -> Job:
        """A job.

        Raises:
            NotFound: there is none of that id.
        """
        with self._database.read() as connection:
            return lookup.get(connection, job)

    def since(self, job: str, sequence: int, *, limit: int | None = None) -> list[Event]:
        """As `events.since`."""
        with self._database.read() as connection:
            return events.since(connection, job, sequence, limit=limit)

    def pause(self, job: str) -> Job:
        """As `queue.pause`."""
        return self._asked(queue.pause, job)

    def resume(self, job: str) -> Job:
        """As `queue.resume`."""
        return self._asked(queue.resume, job)

    def cancel(self, job: str) -> Job:
        """As `queue.cancel`."""
        return self._asked(queue.cancel, job)

    def _asked(self, what: Callable[..., Job], job: str) -> Job:
        with self._database.write() as connection:
            return what(connection, job, now=time.time())
