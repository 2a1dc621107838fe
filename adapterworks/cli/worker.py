"""`adapters worker`: run what is queued, until Ctrl-C."""

from __future__ import annotations

import signal

import click

from adapterworks.app import App


@click.command()
@click.option("--once", is_flag=True, help="End when there is nothing to do.")
@click.pass_obj
def command(app: App, once: bool) -> None:
    """Run queued jobs on this machine, one at a time.

    Jobs are fine-tuning jobs of a gateway with `[jobs]` and builds queued with `adapters build
    --detach`. A job whose worker dies goes on at its newest checkpoint, here or on another machine
    with the same home. Ctrl-C gives back what runs.

    \b
    Example:
      adapters worker
      adapters worker --once
    """
    from adapterworks.registry.jobs import schema
    from adapterworks.workers.worker import Worker

    schema.migrate(app.registry.database)
    worker = Worker(app.registry.database, app.settings.home, say=_say)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    _say(f"waiting for jobs as {worker.holder}")
    worker.run(once=once)


def _say(line: str) -> None:
    click.echo(f"worker: {line}", err=True)
