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
    """Keep rows as datasets: versioned, owned, test sets sealed.

    A manifest names one by version: `data.train = "dataset:medical-failures@3"`. What was ever a
    test row, in a dataset or of a release, can be in no training set of this registry again.

    \b
    Example:
      adapters dataset add medical-failures failures.jsonl --source "ward 7" --reviewed-by "Dr. Wu"
      adapters dataset show medical-failures
      adapters dataset split medical-failures --test 0.2
    """


def _lineage_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--why", default="", help="Why, for the list of versions."),
        click.option(
            "--drop-sealed",
            is_flag=True,
            help="Leave out training rows that were ever test rows, and rows that were erased, in "
            "place of refusing.",
        ),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("name")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option("--train", multiple=True, metavar="FILE", help="Training rows, as FILE is.")
@click.option("--validation", multiple=True, metavar="FILE", help="Validation rows.")
@click.option("--test", multiple=True, metavar="FILE", help="Test rows: sealed for ever.")
@click.option("--format", "format_", default="messages", show_default=True, help="Of the rows.")
@click.option("--column", "columns", multiple=True, metavar="NAME=COLUMN", help="Other names.")
@click.option("--description", default="", help="One line for people.")
@click.option("--license", "license_", default="unknown", show_default=True)
@click.option("--source", default="", help="Where the rows came from.")
@click.option("--consent", default="", help="On what grounds they may be used.")
@click.option("--synthetic-from", help="The model that wrote them.")
@click.option("--reviewed-by", multiple=True, help="Who has read them; may be given again.")
@click.option("--tenant", help="Whose rows they are; the operator's own if not given.")
@click.option(
    "--share",
    type=click.Choice(["none", "own", "all"]),
    help="Whose adapters may be trained on a tenant's rows: nobody's, its own (where "
    "nothing is said), or all that say so.",
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

    FILE is whatever a manifest's `data.train` may be: a file, a folder, a recipe, a Hub data set or
    another dataset, whose rows stay the same tenant's, with the same share. Exit code 6 if training
    rows were ever test rows, or rows were erased; they are listed by number.

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
@click.option("--by", metavar="COLUMN", help="Rows of one value stay together.")
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
    """Divide a dataset's rows into train, validation and test, as its next version.

    A row's side depends on its content, or on its COLUMN with `--by`, so that rows which are added
    later move no old one. What was a test row stays one, whatever the share, and with `--by` so do
    the other rows of its COLUMN's value.

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
