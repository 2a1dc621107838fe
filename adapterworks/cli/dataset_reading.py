"""`adapters dataset list`, `show`, `diff` and `export`: what reads datasets and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import COUNT, WrittenFolder
from adapterworks.manifests.errors import Conflict, Refused

if TYPE_CHECKING:
    from adapterworks.registry.datasets.listed import Dataset

_SHOWN = 3
_SPLITS = ("train", "validation", "test")


@click.command(name="list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(app: App, name: str | None, as_json: bool) -> None:
    """List datasets, or the versions of one, newest first.

    \b
    Example:
      adapters dataset list
      adapters dataset list medical-failures --json
    """
    from adapterworks.registry.remotes.http.datasets import open_datasets

    found = open_datasets(app.registry).list(name)
    if name is None:
        newest: dict[str, Dataset] = {}
        for dataset in found:
            newest.setdefault(dataset.record.name, dataset)
        found = list(newest.values())
    if as_json:
        printing.echo_json([as_table(dataset) for dataset in found])
        return
    printing.echo_table(
        ("dataset", *_SPLITS, "tenant", "added", "by", "why"),
        (
            (
                dataset,
                *(_count(dataset, split) for split in _SPLITS),
                dataset.record.tenant or "-",
                dataset.at[:19],
                dataset.who,
                dataset.why,
            )
            for dataset in found
        ),
    )


@click.command()
@click.argument("dataset")
@click.option(
    "--rows",
    "count",
    type=COUNT,
    default=_SHOWN,
    show_default=True,
    help="Rows to show of each split.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(app: App, dataset: str, count: int, as_json: bool) -> None:
    """Show one dataset: its rows, its lineage, and who was trained on it.

    \b
    Example:
      adapters dataset show medical-failures
      adapters dataset show medical-failures@3 --json
    """
    from adapterworks.builders.data.datasets import rows_of
    from adapterworks.registry.remotes.http.datasets import open_datasets

    refuse_unless(not as_json, ("count",), "the table; JSON has the record and no rows")
    found = find(app, dataset)
    used = [str(release) for release in app.registry.origins.releases_from("parent", found.digest)]
    if as_json:
        printing.echo_json(as_table(found) | {"releases": used})
        return
    record = found.record
    said = {
        "digest": found.digest,
        "description": record.description,
        "license": record.license,
        "source": record.source,
        "consent": record.consent,
        "synthetic from": record.synthetic_from,
        "reviewed by": ", ".join(record.reviewed_by),
        "tenant": record.tenant and f"{record.tenant} (share: {record.share})",
        "added": f"{found.at[:19]} by {found.who}" + (f": {found.why}" if found.why else ""),
        **{f"from ({p.relation})": f"{p.ref or ''} {p.digest or ''}" for p in record.parents},
        "releases": ", ".join(used) or "none",
    }
    click.echo(found.ref)
    printing.echo_table(("what", "value"), ((k, v) for k, v in said.items() if v))
    try:
        parts = rows_of(open_datasets(app.registry), found)
    except Refused as gone:
        app.note(gone.message)
        return
    for split, rows in parts.items():
        click.echo(f"\n{split}: {len(rows)} rows")
        for number, row in enumerate(rows[:count], start=1):
            click.echo(f"  {number}  {printing.harmless(row.excerpt())}")


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(app: App, before: str, after: str, as_json: bool) -> None:
    """Compare the rows of two datasets, or of two versions; exit code 0 either way.

    \b
    Example:
      adapters dataset diff medical-failures@2 medical-failures@3
    """
    from adapterworks.builders.data.datasets import rows_of
    from adapterworks.builders.data.dividing import row_diff
    from adapterworks.registry.remotes.http.datasets import open_datasets

    datasets = open_datasets(app.registry)
    one, other = (rows_of(datasets, find(app, text)) for text in (before, after))
    found = row_diff(one, other)
    lines = [
        *((f"+ {split}", row) for split, rows in found.added.items() for row in rows),
        *((f"- {split}", row) for split, rows in found.gone.items() for row in rows),
        *((f"{a} → {b}", row) for (a, b), rows in found.moved.items() for row in rows),
    ]
    if as_json:
        printing.echo_json(
            [{"change": what, "digest": row.digest, "row": row.excerpt()} for what, row in lines]
        )
        return
    for what, row in lines:
        click.echo(f"{what}  {printing.harmless(row.excerpt())}")
    if found.empty:
        app.note("the same rows")


@click.command()
@click.argument("dataset")
@click.argument("folder", type=WrittenFolder())
@click.option("--force", is_flag=True, help="Replace existing rows and record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def export(app: App, dataset: str, folder: Path, force: bool, as_json: bool) -> None:
    """Write a dataset's rows to files, one per split, with its record.

    If FOLDER already has files with these names, nothing is written without --force; with it, files
    of splits that this version does not have are removed.

    \b
    Example:
      adapters dataset export medical-failures@3 ./rows
    """
    from adapterworks.builders.data.datasets import rows_of
    from adapterworks.builders.data.exporting import lines_of
    from adapterworks.registry.remotes.http.datasets import open_datasets

    found = find(app, dataset)
    rows = rows_of(open_datasets(app.registry), found)
    folder.mkdir(parents=True, exist_ok=True)
    places = [folder / name for name in ("dataset.json", *(f"{split}.jsonl" for split in _SPLITS))]
    taken = [place for place in places if place.exists()]
    if taken and not force:
        raise Conflict(
            f"there is a `{taken[0]}`", hint="name an empty folder, or add --force to replace it"
        )
    for place in taken:
        place.unlink()
    for name, of in rows.items():
        path = folder / f"{name}.jsonl"
        path.write_text(lines_of(of), encoding="utf-8")
        if not as_json:
            click.echo(f"{path}  {len(of)} rows")
    (folder / "dataset.json").write_bytes(found.record.to_bytes() + b"\n")
    if as_json:
        files = {name: {"file": f"{folder / name}.jsonl", "rows": len(rows[name])} for name in rows}
        printing.echo_json({"dataset": found.ref, "digest": found.digest, "splits": files})


def find(app: App, text: str) -> Dataset:
    """The dataset that somebody named: `NAME`, `NAME@3`, with or without `dataset:` before it.

    Raises:
        NotFound: there is none.
    """
    from adapterworks.registry.remotes.http.datasets import open_datasets

    name, _, selector = text.removeprefix("dataset:").partition("@")
    return open_datasets(app.registry).get(name, selector or None)


def as_table(dataset: Dataset) -> dict[str, object]:
    """A dataset as JSON values."""
    about = {"version": dataset.version, "digest": dataset.digest, "ref": dataset.ref}
    added = {"added": dataset.at, "by": dataset.who, "why": dataset.why}
    return {**about, **added, "record": dataset.record.model_dump(mode="json")}


def _count(dataset: Dataset, split: str) -> str:
    return next(
        (str(part.rows) for name, part in dataset.record.splits.items() if name == split), "-"
    )
