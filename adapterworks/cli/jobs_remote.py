"""What `adapters jobs` says and asks of the places that builds were given to (`build --on`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.cli.printing import note
from adapterworks.manifests.errors import AdapterworksError, Unavailable

if TYPE_CHECKING:
    from adapterworks.registry.jobs.job import Job

_LOOK_S = 10.0


def worker_said(app: App, job: Job) -> str | None:
    """How a job's worker stands at its place, for people; None where nobody is to run it there."""
    from adapterworks.workers.placed import place_of, status_of

    try:
        found = status_of(job, app.settings)
    except AdapterworksError as error:
        return f"{place_of(job)} cannot be asked: {error.message}"
    if found is None:
        return None
    return f"{found} at {place_of(job)}" if not found.why else f"{found} (at {place_of(job)})"


class Watch:
    """Tells how a job's worker stands, once until that changes, while its events are followed."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._looked = float("-inf")
        self._said = ""

    def look(self, job: Job) -> None:
        """Ask the place, unless it was asked a moment ago.

        Raises:
            Unavailable: nobody runs the job, nor will.
        """
        from adapterworks.workers.placed import place_of, status_of

        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        try:
            found = status_of(job, self._app.settings)
        except AdapterworksError as error:
            self._tell(f"{place_of(job)} cannot be asked: {error.message}")
            return
        if found is None or (found.is_there and not found.why):
            return
        if not found.is_there:
            raise Unavailable(
                f"nobody runs `{job.id}`, which is {job.state}: its worker at {place_of(job)} is "
                f"{found}",
                hint=f"have another one begun: adapters jobs resume {job.id}; or end it: "
                f"adapters jobs cancel {job.id}",
            )
        self._tell(f"its worker at {place_of(job)} is {found}")

    def _tell(self, line: str) -> None:
        if line != self._said:
            note(line)
        self._said = line


def has_no_worker(app: App, job: Job) -> bool:
    """Whether a job that was given to a place, and is not paused, is run by nobody there.

    Raises:
        Unavailable, NoPlace, MissingExtra: the place cannot be asked.
    """
    from adapterworks.workers.placed import status_of

    found = status_of(job, app.settings)
    return found is not None and not found.is_there


def begin_worker(app: App, job: Job) -> str:
    """Have a resumed job's place begin a worker for it; what is to be said of that."""
    from adapterworks.workers.executors.open import open_executor
    from adapterworks.workers.executors.where import parse_where
    from adapterworks.workers.placed import place_of
    from adapterworks.workers.remote import begin_again

    if not app.registry.has_index:
        return f"; have a worker begun at {place_of(job)} by the same command beside the index"
    executor = open_executor(parse_where(place_of(job)), app.settings)
    task = begin_again(app, executor, job)
    return f", given to {place_of(job)}" + (f" as {task}" if task else " already")
