"""A build elsewhere whose asker was interrupted is taken up, and not queued once more."""

from __future__ import annotations

from collections.abc import Mapping

from adapterworks.app import App
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.jobs import lookup, schema
from adapterworks.registry.jobs.job import DETACHED, OPERATOR
from adapterworks.registry.jobs.states import AT_WORK
from adapterworks.registry.registry import Registry
from adapterworks.workers.executors.executor import Executor
from adapterworks.workers.executors.where import Where
from adapterworks.workers.placed import ON, task_of
from adapterworks.workers.remote import Submitted, begin_again


def reattach(
    app: App, where: Where, executor: Executor, labels: Mapping[str, str]
) -> Submitted | None:
    """The job that somebody began there with these labels, if it goes on, or came to a release that
    is still here; has its worker begun where none is, as whoever queued it may have been killed.

    Raises:
        Conflict: it has ended meanwhile.
        Refused, Unavailable, NotFound: the place does not take its worker.
    """
    schema.migrate(app.registry.database)
    with app.registry.database.read() as connection:
        found, _ = lookup.listed(
            connection,
            tenant=OPERATOR,
            kind=DETACHED,
            states=(*AT_WORK, "paused", "succeeded"),
            labels={ON: str(where), **labels},
            limit=1,
        )
    if not found:
        return None
    (job,) = found
    if job.state == "succeeded" and not _is_here(app.registry, job.result["digest"]):
        return None
    if job.state in AT_WORK:
        begin_again(app, executor, job)
    return Submitted(job, task_of(job))


def _is_here(registry: Registry, digest: str) -> bool:
    try:
        registry.release(digest)
    except NotFound:
        return False
    return True
