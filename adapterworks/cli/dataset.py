"""`adapters dataset add` and `split`: rows become a version. What reads is `dataset_reading.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import dataset_reading, printing
from adapterworks.cli.columns import column_names
from adapterworks.cli.dataset_reading import as_table, find
from adapterworks.cli.values import Real
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.adding import Added
    from adapterworks.builders.data.rows import Row
    from adapterworks.registry.datasets.record import Split


@click.group()
def command() -> None:
    """Manage versioned datasets with owners and sealed test sets.

    A manifest names a version: `data.train = "dataset:medical-failures@3"`. A row that was ever a
    test row, of a dataset or a release, can never be in a training set of this registry.

    \b
    Example:
      adapters dataset add medical-failures failures.jsonl --source "ward 7" --reviewed-by "Dr. Wu"
      adapters dataset show medical-failures
      adapters dataset split medical-failures --test 0.2
    """


def _lineage_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--why", default="", help="Reason, shown in the list of versions."),
        click.option(
            "--drop-sealed",
            is_flag=True,
            help="Drop training rows that were ever test rows, and erased rows, instead of "
            "refusing.",
        ),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("name")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option("--train", multiple=True, metavar="FILE", help="Training rows (same as FILE).")
@click.option("--validation", multiple=True, metavar="FILE", help="Validation rows.")
@click.option("--test", multiple=True, metavar="FILE", help="Test rows; they are sealed forever.")
@click.option("--format", "format_", default="messages", show_default=True, help="Row format.")
@click.option("--column", "columns", multiple=True, metavar="NAME=COLUMN", help="Rename columns.")
@click.option("--description", default="", help="A one-line description.")
@click.option("--license", "license_", default="unknown", show_default=True)
@click.option("--source", default="", help="Where the rows came from.")
@click.option("--consent", default="", help="The consent or contract that allows their use.")
@click.option("--synthetic-from", help="The model that wrote them.")
@click.option("--reviewed-by", multiple=True, help="Who has reviewed them; repeatable.")
@click.option("--tenant", help="The tenant that owns the rows (default: the operator).")
@click.option(
    "--share",
    type=click.Choice(["none", "own", "all"]),
    help="Which adapters may be trained on a tenant's rows: none, the tenant's own (the "
    "default), or all that ask for them.",
)
@_lineage_options
@click.pass_obj
def add(
    app: App,
    /,
    name: str,
    files: tuple[str, ...],
    train: tuple[str, ...],
    validation: tuple[str, ...],
    test: tuple[str, ...],
    format_: str,
    columns: tuple[str, ...],
    license_: str,
    drop_sealed: bool,
    why: str,
    as_json: bool,
    **about: Any,
) -> None:
    """Add rows as the next version of a dataset.

    FILE is anything that a manifest's `data.train` accepts: a file, a folder, a recipe, a Hub
    dataset or another dataset, whose rows keep their tenant and share. Exits with 6 if training
    rows were ever test rows, or if rows have been erased; their numbers are listed.

    \b
    Example:
      adapters dataset add medical-failures failures.jsonl --consent "contract 12" --source "ward 7"
      adapters dataset add bank --train rows.csv --test held-out.csv --format instruction
    """
    from adapterworks.builders.data.adding import About, add_dataset
    from adapterworks.builders.data.load import load_source
    from adapterworks.manifests.refs import check_name

    check_name(name)
    _require_here(app)
    renamed = column_names(columns)

    def read(sources: tuple[str, ...], split: Split) -> list[Row]:
        return [
            row
            for source in sources
            for row in load_source(
                source,
                format_,
                columns=renamed,
                cache=app.settings.home / "cache",
                split=split,
                registry=app.registry,
            ).rows
        ]

    rows: Mapping[Split, list[Row]] = {
        "train": read((*files, *train), "train"),
        "validation": read(validation, "validation"),
        "test": read(test, "test"),
    }
    said = About(license=license_, **about)
    _echo_added(
        add_dataset(
            app.registry, name, rows, said, drop_sealed=drop_sealed, who=app.settings.who, why=why
        ),
        as_json,
    )


@command.command()
@click.argument("dataset")
@click.option("--test", type=Real(0, 1, max_open=True), default=0.0)
@click.option("--validation", type=Real(0, 1, max_open=True), default=0.0)
@click.option("--by", metavar="COLUMN", help="Keep rows with the same value in COLUMN together.")
@_lineage_options
@click.pass_obj
def split(
    app: App,
    dataset: str,
    test: float,
    validation: float,
    by: str | None,
    drop_sealed: bool,
    why: str,
    as_json: bool,
) -> None:
    """Split a dataset into train, validation and test, as its next version.

    The split of a row depends on its content, or with `--by` on its value in COLUMN, so rows that
    are added later do not move old ones. A test row stays a test row whatever the share, and with
    `--by` so do all rows with the same value.

    \b
    Example:
      adapters dataset split medical-failures@3 --test 0.2 --validation 0.1
      adapters dataset split medical-failures --test 0.2 --by patient
    """
    from adapterworks.builders.data.adding import About, add_dataset
    from adapterworks.builders.data.datasets import rows_of
    from adapterworks.builders.data.dividing import along, divide
    from adapterworks.registry.datasets.store import Datasets

    _require_here(app)
    before = find(app, dataset)
    record = before.record
    was = rows_of(Datasets(app.registry), before)
    rows = divide(was, validation=validation, test=test, by=by)
    if by is not None and (moved := along(was, test=test, by=by)):
        printing.note(f"{moved} rows are test rows now, as another of the same `{by}` was one")
    said = About.after(before, "split")
    _echo_added(
        add_dataset(
            app.registry, record.name, rows, said, drop_sealed=drop_sealed,
            who=app.settings.who, why=why,
        ),
        as_json,
    )  # fmt: skip


def _require_here(app: App) -> None:
    """Refuse to add rows to a registry behind a server.

    Raises:
        InvalidInput: it is one.
    """
    if not app.registry.has_index:
        raise InvalidInput(
            "rows are added where the registry is: they are held against every sealed test set, "
            "whose rows are not sent",
            hint="run it there, without `ADAPTERS_REGISTRY`; `adapters dataset list`, `show`, "
            "`diff` and `export` work from here",
        )


def _echo_added(added: Added, as_json: bool) -> None:
    if as_json:
        table = as_table(added.dataset)
        counts = {"dropped": added.dropped, "erased": added.erased}
        printing.echo_json(table | {"new": added.new} | counts)
        return
    if added.erased:
        printing.note(f"{added.erased} rows were erased from this registry and were left out")
    if added.dropped:
        printing.note(f"{added.dropped} training rows were ever test rows and were left out")
    told = ", ".join(f"{part.rows} {split}" for split, part in added.dataset.record.splits.items())
    again = "" if added.new else " (was there already)"
    click.echo(f"{added.dataset.ref}  {told}  {added.dataset.digest}{again}")


for reading in (
    dataset_reading.list_,
    dataset_reading.show,
    dataset_reading.diff,
    dataset_reading.export,
):
    command.add_command(reading)
