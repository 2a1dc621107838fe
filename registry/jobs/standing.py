"""Which jobs still wait for a machine's memory, by what the queue knows of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.states import ENDED
from adapterworks.registry.jobs.waits import waits_of
from adapterworks.registry.registry import Registry

_log = logging.getLogger(__name__)
_jobs = schema.jobs


def standing_in(registry: Registry) -> Callable[[Sequence[str]], Mapping[str, bool]] | None:
    """Who knows which jobs wait; None where the index is a server's, which is not asked."""
    if not registry.has_index:
        return None
    database = registry.database

    def ask(jobs: Sequence[str]) -> Mapping[str, bool]:
        try:
            return standing(database, jobs)
        except Unavailable as error:  # it is a matter of order: nobody's build ends for it
            _log.warning("it is not known which jobs still wait: %s", error)
            return {}

    return ask


def standing(database: Database, jobs: Sequence[str]) -> dict[str, bool]:
    """Of jobs by their ids, whether each still waits for memory; without those that are not known.

    One that runs now, or was queued for another reason, may be about to look.

    Raises:
        Unavailable: the index.
    """
    schema.migrate(database)
    query = sa.select(_jobs.c.id, _jobs.c.state, _jobs.c.result).where(_jobs.c.id.in_(list(jobs)))
    found = {}
    with database.read() as connection:
        for job, state, result in connection.execute(query).all():
            waits = waits_of(json.loads(result))
            if state in ENDED or state == "paused":
                found[job] = False
            elif state == "queued" and waits is not None and waits.resource == "memory":
                found[job] = True
    return found
