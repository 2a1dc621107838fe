"""`adapters verify`: bytes, records, index and signatures; repair from another store."""

from __future__ import annotations

from pathlib import Path

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.argument("ref", required=False)
@click.option("--all", "everything", is_flag=True, help="Verify every release and the index.")
@click.option(
    "--repair",
    metavar="STORE",
    help="Take good bytes from this folder, s3:// URL or hub:org/name@revision.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key; each release must be signed by one of these.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str | None,
    everything: bool,
    repair: str | None,
    keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check bytes, records and signatures.

    Exits with 5 when something is wrong and was not repaired.

    \b
    Example:
      adapters verify medical@3 --key release.pub
      adapters verify --all --repair s3://backup/adapters
      adapters verify medical@3 --repair hub:org/medical-lora@v3
    """
    from manifests.errors import IntegrityError, InvalidInput
    from registry.blobs import BlobStore, open_blobs

    if (ref is None) != everything:
        raise InvalidInput("give a REF or `--all`", hint="adapters verify --all")
    source: BlobStore | None = None
    if repair is not None and repair.startswith("hub:"):
        from registry.hub.blobs import HubBlobs

        source = HubBlobs(repair, app.settings.home / "tmp")
    elif repair is not None:
        source = open_blobs(repair)
    report = app.registry.verify(ref, repair_from=source, public_keys=keys)
    if as_json:
        printing.echo_json({"clean": report.clean, "report": report})
    else:
        if report.problems:
            printing.echo_table(
                ("what", "where", "file", "problem"),
                (
                    (
                        "repaired" if problem.repaired else problem.kind,
                        problem.ref,
                        problem.path or "",
                        problem.message,
                    )
                    for problem in report.problems
                ),
            )
        click.echo(
            f"verified {report.releases} releases, {report.blobs} blobs, "
            f"{printing.size(report.bytes)}: {'clean' if report.clean else 'not clean'}"
        )
    left = [problem for problem in report.problems if not problem.repaired]
    if left:
        signatures = all(problem.kind == "signature" for problem in left)
        raise IntegrityError(
            f"problems left: {len(left)}",
            hint="sign them: adapters sign REF --key KEY"
            if signatures
            else "restore the bytes from another store: adapters verify --all --repair STORE",
        )
