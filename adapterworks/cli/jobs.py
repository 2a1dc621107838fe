"""`adapters jobs`: what is queued, what runs, what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.jobs_remote import Watch, begin_worker, has_no_worker, worker_said
from adapterworks.cli.jobs_shown import echo_event, echo_moved, job_json, waits_said
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.printing import echo_json, echo_more, echo_table, harmless
from adapterworks.cli.values import WrittenFolder
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused

if TYPE_CHECKING:
    from adapterworks.registry.jobs.here import JobsHere
    from adapterworks.registry.remotes.http.jobs import JobsOverHttp

_STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")
_FOLLOW_S = 1.0
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """List, show, pause, resume and cancel queued jobs.

    \b
    Example:
      adapters jobs list --state running
      adapters jobs logs ftjob-… --follow
      adapters jobs show ftjob-… --manifest
    """


@command.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state.")
@click.option("--tenant", help="Only jobs of this tenant, by its name.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, help="Maximum number of jobs (50)."
)
@click.option("--after", metavar="JOB", help="Only jobs older than this one.")
@_as_json
@click.pass_obj
def list_(
    app: App,
    state: str | None,
    tenant: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first.

    \b
    Example:
      adapters jobs list --state queued --tenant acme
    """
    from adapterworks.cli.tenant_shown import admin

    names = {t.id: t.name for t in admin(app).list()}
    ids = {name: tenant_id for tenant_id, name in names.items()}
    if tenant is not None and tenant not in ids:
        raise InvalidInput(f"there is no tenant `{tenant}`", hint="see `adapters tenant list`")
    of_tenant = ids[tenant] if tenant else None
    jobs, more = _jobs(app).listed(tenant=of_tenant, state=state, after=after, limit=limit)
    if as_json:
        echo_json([job_json(job) for job in jobs])
    else:
        echo_table(
            ("job", "state", "tenant", "name", "created", "result"),
            (
                (
                    job.id,
                    f"{job.state} ({job.wanted} asked)" if job.wanted else job.state,
                    names.get(job.tenant, job.tenant) or "-",
                    job.arguments.get("name", "-"),
                    printing.moment(job.created),
                    job.result.get("ref") or job.code or "",
                )
                for job in jobs
            ),
        )
    if more:
        echo_more(jobs[-1].id)


@command.command()
@click.argument("job")
@click.option("--manifest", is_flag=True, help="Print the manifest behind the job.")
@click.option(
    "--into",
    metavar="DIR",
    type=WrittenFolder(),
    help="Write that manifest and its rows into a folder.",
)
@_as_json
@click.pass_obj
def show(app: App, job: str, manifest: bool, into: Path | None, as_json: bool) -> None:
    """Show one job.

    The manifest behind a fine-tuning job can be built by hand: it has the same plan, and so gives
    the same release.

    \b
    Example:
      adapters jobs show ftjob-…
      adapters jobs show ftjob-… --manifest
      adapters jobs show ftjob-… --into job/ && adapters build job/manifest.toml
    """
    from adapterworks.registry.jobs.waits import waits_of

    if manifest or into is not None:
        refuse_unless(False, ("as_json",), "the job itself; its manifest is TOML")
    found = _jobs(app).get(job)
    if manifest or into is not None:
        from adapterworks.registry.jobs.job import FINE_TUNING
        from adapterworks.workers.fine_tuning import manifest_text, write_folder

        if found.kind != FINE_TUNING:
            raise InvalidInput(
                f"`{job}` is no fine-tuning job",
                hint="a queued build names its manifest: see `adapters jobs show`",
            )
        if manifest:
            click.echo(manifest_text(found), nl=False)
        if into is not None:
            app.note(str(write_folder(found, app.registry.blobs, into)))
        return
    values = {**job_json(found), "worker": worker_said(app, found)}
    if as_json:
        echo_json(values)
        return
    if (waits := waits_of(found.result)) is not None:
        values["waits"] = waits_said(waits)
    for name, value in values.items():
        if value not in (None, "", {}, []):
            click.echo(f"{name}: {harmless(value)}")


@command.command()
@click.argument("job")
@click.option("--follow", is_flag=True, help="Keep printing until the job has ended.")
@_as_json
@click.pass_obj
def logs(app: App, job: str, follow: bool, as_json: bool) -> None:
    """Show what happened to a job, oldest first.

    With --follow, exits with 6 if the job failed or was cancelled, and with 7 if the place that it
    was sent to no longer has a worker for it.

    \b
    Example:
      adapters jobs logs ftjob-… --follow
    """
    jobs, seen, watch = _jobs(app), 0, Watch(app)
    while True:
        found = jobs.get(job)
        for event in jobs.since(job, seen):
            seen = event.sequence
            echo_event(event, as_json)
        if follow and found.state in ("failed", "cancelled"):
            raise Refused(f"`{job}` {found.state}", hint=f"see why: adapters jobs show {job}")
        if found.ended:
            return
        if not follow:
            if said := worker_said(app, found):
                app.note(f"its worker: {said}")
            return
        watch.look(found)
        time.sleep(_FOLLOW_S)


@command.command()
@click.argument("job")
@_as_json
@click.pass_obj
def cancel(app: App, job: str, as_json: bool) -> None:
    """Cancel a job; a running one stops within seconds.

    \b
    Example:
      adapters jobs cancel ftjob-…
    """
    from adapterworks.workers.placed import end_at_its_place

    found = _jobs(app).cancel(job)
    try:
        end_at_its_place(found, app.settings)
    except AdapterworksError as error:  # a worker that begins there later finds nothing to do
        click.echo(f"{found.labels['on']} was not told: {harmless(error.message)}", err=True)
    echo_moved(found, as_json)


@command.command()
@click.argument("job")
@_as_json
@click.pass_obj
def pause(app: App, job: str, as_json: bool) -> None:
    """Pause a job; a running one stops at its newest checkpoint.

    \b
    Example:
      adapters jobs pause ftjob-…
    """
    echo_moved(_jobs(app).pause(job), as_json)


@command.command()
@click.argument("job")
@_as_json
@click.pass_obj
def resume(app: App, job: str, as_json: bool) -> None:
    """Resume a paused job where it stopped.

    A build that was sent to a place (`adapters build --on`) is sent there again, and so is one that
    is not paused but has lost its worker.

    \b
    Example:
      adapters jobs resume ftjob-…
      adapters jobs resume build-…
    """
    from adapterworks.workers.placed import place_of

    jobs = _jobs(app)
    found = jobs.get(job)
    lost = found.state in ("queued", "running") and has_no_worker(app, found)
    if not lost:
        found = jobs.resume(job)
    given = ""
    if lost or (place_of(found) and found.state == "queued"):
        given = begin_worker(app, found)
    echo_moved(found, as_json, given)


def _jobs(app: App) -> JobsHere | JobsOverHttp:
    """The jobs of this registry, or of that of the server that is used."""
    from adapterworks.registry.jobs.here import JobsHere
    from adapterworks.registry.remotes.http.jobs import JobsOverHttp
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return JobsOverHttp(registry.link)
    return JobsHere(registry.database)
