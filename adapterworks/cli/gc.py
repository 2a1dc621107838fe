"""`adapters gc`: remove bytes that no live version, build, publish or gateway needs."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=3600.0,
    show_default=True,
    help="Keep everything younger than this many seconds.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would go, and how much.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, grace: float, dry_run: bool, as_json: bool) -> None:
    """Remove bytes that nothing needs.

    Safe while others publish, build and serve. Answers of engines that no evaluation asked for in
    30 days go too.

    \b
    Example:
      adapters gc --dry-run
      adapters gc --grace 86400
    """
    from adapterworks.builders.engines.answers import answers_folder, forget_unused

    report = app.registry.gc(grace=grace, dry_run=dry_run)
    answers = forget_unused(answers_folder(app.settings.home), dry_run=dry_run)
    if as_json:
        printing.echo_json({"report": report, "bytes": report.bytes, "answers": answers})
        return
    if dry_run:
        printing.echo_table(
            ("blob", "size"), ((blob.digest, printing.size(blob.size)) for blob in report.blobs)
        )
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {len(report.blobs)} blobs ({printing.size(report.bytes)}), "
        f"{len(report.checkouts)} checkouts, {report.staged} staged leftovers, "
        f"{printing.size(answers)} of old answers, "
        f"{report.leases} expired leases; kept {report.kept} needed and {report.young} young blobs"
    )
