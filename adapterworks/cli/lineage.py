"""`adapters lineage`: base, data, code, packages and parents of a release."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, as_json: bool) -> None:
    """Show where a release came from.

    \b
    Example:
      adapters lineage medical
      adapters lineage medical@3 --json
    """
    from adapterworks.registry.reading.diff import flatten

    found = app.registry.lineage(ref)
    if as_json:
        printing.echo_json(found)
        return
    click.echo(f"{found.release}  {found.release.digest}")
    rows = [
        ("created", found.created + (f" by {found.created_by}" if found.created_by else "")),
        ("source", found.source or "a build"),
        ("plan", found.plan or "none"),
        ("base", f"{found.base.model}@{found.base.revision} ({found.base.quantization})"),
        ("base digest", found.base.digest),
        ("seed", "none" if found.seed is None else str(found.seed)),
    ]
    rows += [(f"data {key}", str(value)) for key, value in flatten(found.data).items()]
    rows += [(f"code {key}", str(value)) for key, value in flatten(found.code).items()]
    rows += [(f"package {key}", version) for key, version in sorted(found.packages.items())]
    rows += [
        ("parent", f"{parent.ref} {parent.digest}" + (" (deleted)" if parent.deleted else ""))
        for parent in found.parents
    ]
    printing.echo_table(("what", "value"), rows)
