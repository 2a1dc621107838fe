"""`adapters gc`: bytes that no live version, build, publish or gateway needs go to the trash."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.confirming import confirm
from adapterworks.cli.values import Real

if TYPE_CHECKING:
    from adapterworks.registry.lifecycle.gc import GcReport


@click.command()
@click.option(
    "--grace",
    type=Real(0),
    default=7 * 86400.0,
    show_default=True,
    help="Seconds in the trash before a blob is deleted; blobs younger than this, or than an "
    "hour, are left alone.",
)
@click.option("--unlisted", is_flag=True, help="Also remove what this index never listed.")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed, and its size.")
@click.option("--yes", is_flag=True, help="Do not ask; scripts need it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --dry-run.")
@click.pass_obj
def command(
    app: App, grace: float, unlisted: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove bytes that are no longer needed.

    They are moved to the store's trash, where a later gc deletes them; what is needed again is
    moved back. On a terminal it shows what it would remove and asks. It refuses to run if index and
    store do not belong together, or if the store has releases, datasets, sealed test sets or
    tenants' files that this index never listed. It is safe while others publish, build and serve.
    On this machine it also removes expired captured answers, folders of jobs that ended longer ago
    than the grace period, and engine answers that no evaluation used in 30 days. With
    ADAPTERS_REGISTRY, the server does it on its own machine, for an administrator.

    \b
    Example:
      adapters gc --dry-run
      adapters gc --yes --grace 86400
    """
    from adapterworks.builders.engines.answers import answers_folder, forget_unused
    from adapterworks.manifests.errors import InvalidInput

    if as_json and not (yes or dry_run):
        raise InvalidInput("`--json` does not ask", hint="add --yes, or --dry-run")
    folder = answers_folder(app.settings.home)

    def collect(dry_run: bool) -> tuple[GcReport, Left]:
        report, expired, jobs = _collected(app, grace, unlisted=unlisted, dry_run=dry_run)
        return report, Left(forget_unused(folder, dry_run=dry_run), expired, jobs)

    if not yes or dry_run:
        report, left = collect(dry_run=True)
        if dry_run and as_json:
            _print_json(report, left)
            return
        if not as_json:
            _show(report, left)
        if dry_run or (report.empty and not left.any):
            return
        confirm("Remove these?", yes=False, what="removed")
    report, left = collect(dry_run=False)
    if as_json:
        _print_json(report, left)
    else:
        _say(report, left)


def _collected(
    app: App, grace: float, *, unlisted: bool, dry_run: bool
) -> tuple[GcReport, int, int]:
    """What went, or would go: of the registry, captured answers, folders of jobs.

    Of a registry behind a server it is done there, on its machine.
    """
    import time

    from adapterworks.registry.jobs.folders import forget
    from adapterworks.registry.remotes.http.facets.upkeep import RemoteUpkeep

    registry, home, now = app.registry, app.settings.home, time.time()
    if isinstance(registry.upkeep, RemoteUpkeep):
        done = registry.upkeep.collect(grace=grace, unlisted=unlisted, dry_run=dry_run)
        return done.report, done.expired, done.jobs
    report = registry.upkeep.gc(grace=grace, unlisted=unlisted, dry_run=dry_run)
    # They are swept by every gateway that runs; here, where none does.
    captured, expired = (app.exchanges if (home / "exchanges").is_dir() else None), 0
    if captured is not None:
        expired = captured.expired(now) if dry_run else captured.sweep(now)
    jobs = forget(registry.database, home, now - grace, dry_run=dry_run)
    if not dry_run:
        registry.database.settle()
    return report, expired, jobs


@dataclass(frozen=True, slots=True)
class Left:
    """What goes beside blobs: bytes of engines' old answers, captured ones, folders of jobs."""

    answers: int
    expired: int
    jobs: int

    @property
    def any(self) -> bool:
        """Whether there is anything of it."""
        return bool(self.answers or self.expired or self.jobs)


def _print_json(report: GcReport, left: Left) -> None:
    printing.echo_json({"report": report, "bytes": report.bytes, **asdict(left)})


def _show(report: GcReport, left: Left) -> None:
    printing.echo_table(
        ("blob", "size", ""),
        [
            *((blob.digest, printing.size(blob.size), "to the trash") for blob in report.blobs),
            *((blob.digest, printing.size(blob.size), "delete") for blob in report.deleted),
            *((blob.digest, printing.size(blob.size), "back") for blob in report.recovered),
        ],
    )
    _say(report, left)


def _say(report: GcReport, left: Left) -> None:
    would = "would remove" if report.dry_run else "removed"
    deleted = sum(blob.size for blob in report.deleted)
    click.echo(
        f"{would} {len(report.blobs)} blobs ({printing.size(report.bytes)}) to the trash, "
        f"{len(report.deleted)} from it for good ({printing.size(deleted)}), "
        f"{len(report.checkouts)} checkouts, {report.staged} staged leftovers, "
        f"{printing.size(left.answers)} of old answers, {left.expired} expired captured answers, "
        f"{left.jobs} folders of jobs, "
        f"{report.leases} expired leases; "
        f"moved {len(report.recovered)} back; kept {report.kept} needed and {report.young} young "
        f"blobs, {report.trash} in the trash"
    )
