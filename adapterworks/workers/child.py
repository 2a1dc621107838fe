"""The process that runs one attempt of a job: `python -m adapterworks.workers.child JOB N HOLDER`.

Invariant: it ends with the worker that started it, and what it writes to the index shows its claim.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

from adapterworks.app import App
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.crash import no_room
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.jobs import events, lookup, queue
from adapterworks.registry.jobs.job import Claim, Job, Outcome, Stop
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.jobs.shown import again, shown, stop
from adapterworks.termination import closing_on_sigterm
from adapterworks.workers.kinds import KINDS
from adapterworks.workers.waiting import waits
from adapterworks.workers.worker import WORKER

T = TypeVar("T")
_CODES: dict[type[AdapterworksError], str] = {
    InvalidInput: "invalid_input",
    NotFound: "not_found",
    Refused: "refused",
    IntegrityError: "integrity_error",
}
_INDEX_S = 1.0
_BUSY_S = 10.0
_AGAIN_S = 15.0
_FULL_S = 60.0


def main(arguments: list[str]) -> int:
    """Run the attempt; returns the exit code: 0 if how it ended is known to the queue."""
    claim = Claim(arguments[0], int(arguments[1]), arguments[2])
    _end_with(int(os.environ[WORKER]))
    app = App()
    with closing_on_sigterm():  # its worker gives the job back, or pauses it
        try:
            return _run(app, claim)
        finally:
            app.close()


def _run(app: App, claim: Claim) -> int:
    try:
        job = _insist(lambda: _claimed(app, claim))
        outcome = shown(_outcome(app, job, claim), job.tenant)
        _insist(lambda: _finish(app, claim, outcome))
    except Lost as error:
        print(error.message, file=sys.stderr)
    return 0


def _insist(ask: Callable[[], T]) -> T:
    """Ask an index that may be away for a moment until it answers.

    The worker renews the claim meanwhile, and ends this process when it is lost.
    """
    while True:
        try:
            return ask()
        except Unavailable as error:
            print(error.message, file=sys.stderr)
            time.sleep(_INDEX_S)


def _claimed(app: App, claim: Claim) -> Job:
    with app.registry.database.read() as connection:
        return lookup.job_of(queue.require(connection, claim))


def _finish(app: App, claim: Claim, outcome: Outcome) -> None:
    with app.registry.database.write() as connection:
        job = queue.finish(connection, claim, outcome, now=time.time())
        if job.state == "failed":
            said = f"the job failed: {job.message}"
            events.add(connection, job.id, said, time.time(), "error")


def _outcome(app: App, job: Job, claim: Claim) -> Outcome:
    run = KINDS.get(job.kind)
    if run is None:
        return Stop("unknown_kind", f"this worker knows no jobs of kind `{job.kind}`")
    try:
        return run(app, job, claim)
    except Lost:
        raise
    except Conflict as error:  # the same plan is being built by somebody
        print(error.message, file=sys.stderr)
        return again(error, job.tenant, after=_BUSY_S, counts=False)
    except Occupied as error:  # by an engine, or by another worker's build
        print(error.message, file=sys.stderr)
        return waits(error, job, claim, most=app.settings.memory_wait, now=time.time())
    except Unavailable as error:
        traceback.print_exc()
        return again(error, job.tenant, after=error.retry_after or _AGAIN_S)
    except AdapterworksError as error:
        traceback.print_exc()
        code = next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), "error")
        return stop(code, error, job.tenant)
    except Exception as error:
        traceback.print_exc()
        if (full := no_room(error)) is not None:  # of the disk: another machine may have room
            return again(full, job.tenant, after=_FULL_S)
        return Stop("internal_error", f"the worker failed with {type(error).__name__}; see its log")


def _end_with(worker: int) -> None:
    """End this process as soon as its worker is gone: then nobody holds the pipe's other end."""

    def watch() -> None:
        os.read(worker, 1)
        os._exit(137)

    threading.Thread(target=watch, name="worker-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
