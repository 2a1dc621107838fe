"""`adapters lineage`: base, data, code, packages and parents of a release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref

if TYPE_CHECKING:
    from adapterworks.registry.datasets.listed import Dataset
    from adapterworks.registry.reading.lineage import Ancestor, Lineage


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--graph", "as_graph", is_flag=True, help="Print the tree of releases and datasets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, as_graph: bool, as_json: bool) -> None:
    """Show where a release came from.

    \b
    Example:
      adapters lineage medical
      adapters lineage medical --graph
      adapters lineage medical@3 --json
    """
    from adapterworks.registry.datasets.store import Datasets
    from adapterworks.registry.reading.diff import flatten

    found = app.registry.origins.lineage(app.look_for(ref))
    if as_graph:
        _draw(app, str(found.release), found.release.digest, as_json)
        return
    if as_json:
        printing.echo_json(found)
        return
    click.echo(f"{found.release}  {found.release.digest}")
    rows = [
        ("created", found.created + (f" by {found.created_by}" if found.created_by else "")),
        ("source", found.source or "a build"),
        ("made", found.provenance.made),
        ("plan", found.plan or "none"),
        ("base", f"{found.base.model}@{found.base.revision} ({found.base.quantization})"),
        ("base digest", found.base.digest),
        ("seed", "none" if found.seed is None else str(found.seed)),
    ]
    rows += [(f"data {key}", str(value)) for key, value in flatten(found.data).items()]
    rows += [(f"code {key}", str(value)) for key, value in flatten(found.code).items()]
    rows += [(f"package {key}", version) for key, version in sorted(found.packages.items())]
    rows += [(key, value) for key, value in _made(found) if value]
    for parent in found.parents:
        of_rows = parent.relation in ("dataset", "test") and not parent.here
        of_rows = of_rows and app.registry.has_index
        dataset = Datasets(app.registry).find(parent.digest) if of_rows else None
        rows.append((parent.relation, _parent(parent, dataset)))
    printing.echo_table(("what", "value"), rows)


def _draw(app: App, name: str, digest: str, as_json: bool) -> None:
    from adapterworks.registry.datasets.graph import graph

    lines = graph(app.registry, f"{name} {digest}", app.registry.release(digest).parents)
    if as_json:
        printing.echo_json({"release": name, "digest": digest, "graph": lines})
        return
    for line in lines:
        click.echo(printing.harmless(line))


def _made(found: Lineage) -> Iterator[tuple[str, str | None]]:
    """What the record says of the making, beside what the lock says."""
    if found.stage is not None:
        stage = found.stage
        yield "stage", f"{stage.name} ({stage.index + 1} of {stage.count})"
    yield "objective", found.provenance.objective
    yield "device", found.provenance.device
    for stage_name, digest in found.digests.items():
        yield f"{stage_name} digest", digest


def _parent(parent: Ancestor, dataset: Dataset | None) -> str:
    if dataset is not None:
        return f"{dataset.ref} {dataset.digest} of {parent.child}"
    share = "" if parent.weight is None else f" × {parent.weight:g}"
    state = " (deleted)" if parent.deleted else "" if parent.here else " (not here)"
    return f"{parent.ref}{share} {parent.digest}{state} of {parent.child}"
