"""`adapters worker`: run what is queued, until Ctrl-C."""

from __future__ import annotations

import signal
import time

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.manifests.errors import InvalidInput, Unavailable

_PATIENCE_S = 300.0
_AGAIN_S = 5.0


@click.command()
@click.option("--once", is_flag=True, help="Exit when the queue is empty.")
@click.option("--lane", help="Run only the jobs of this lane, then exit (set by `build --on`).")
@click.pass_obj
def command(app: App, once: bool, lane: str | None) -> None:
    """Run queued jobs on this machine, one at a time.

    Jobs are fine-tuning jobs of a gateway with `[jobs]` and builds queued with `adapters build
    --detach`. If a worker dies, its job resumes from the newest checkpoint, here or on another
    machine with the same home. Ctrl-C and SIGTERM return the running job to the queue; a training
    finishes its step and saves it first (a second Ctrl-C does not wait for that). With `--lane` the
    exit code is then 75, so that a scheduler restarts the worker.

    \b
    Example:
      adapters worker
      adapters worker --once
    """
    from adapterworks.workers.executors.executor import GIVEN_BACK
    from adapterworks.workers.worker import Worker

    if app.settings.registry is not None:
        raise InvalidInput(
            "a worker works in the registry's database itself: every write of a run shows its "
            "claim, and publishing a release and ending its job are one transaction",
            hint="unset `ADAPTERS_REGISTRY` where it runs, and set `ADAPTERS_DATABASE` and "
            "`ADAPTERS_BLOBS`; `adapters jobs` works from here",
        )
    _until_the_index_answers(app, patience=0.0 if lane is None else _PATIENCE_S)
    from adapterworks.registry.jobs.job import BUILD_LANE

    worker = Worker(app.registry.database, app.settings.home, say=_say, lanes=(lane or BUILD_LANE,))
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.signal(signal.SIGINT, lambda *_: worker.stop(at_once=worker.stopping))
    _say(f"waiting for jobs as {worker.holder}")
    worker.run(once=once, out=lane is not None)
    if lane is not None and not once and not worker.are_out():
        _say("asked to end before its lane was empty; it is to be begun again")
        raise SystemExit(GIVEN_BACK)


def _until_the_index_answers(app: App, *, patience: float) -> None:
    """Bring its tables to the newest schema; no place begins a worker again that could not begin.

    Raises:
        Unavailable: it did not answer for so many seconds.
    """
    from adapterworks.registry.jobs import schema

    until = time.monotonic() + patience
    while True:
        try:
            return schema.migrate(app.registry.database)
        except Unavailable as error:
            if time.monotonic() >= until:
                raise
            _say(error.message)
            time.sleep(_AGAIN_S)


def _say(line: str) -> None:
    printing.note(f"worker: {line}")
