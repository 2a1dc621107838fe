"""`adapters data`: rows as the model sees them, and what the data gates say about them; what makes
rows is in files of its own (`constitutional.py`, `from_failures.py`, `synth.py`).

Tables and rows are the commands' data and go to stdout; `--json` prints the same as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import constitutional, from_failures, printing, synth
from adapterworks.cli.completion import complete_manifest
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.printing import echo_json, echo_table
from adapterworks.cli.values import COUNT
from adapterworks.errors import EXIT_CODES, wants_color
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.builders.data.gates.run import GateResults
    from adapterworks.builders.data.load import Splits
    from adapterworks.builders.data.rows import Row
    from adapterworks.manifests.models import Manifest

Command = Callable[..., None]
_SHOWN_ROWS = 5


def _manifest_options(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a key.",
        ),
        click.option("--profile", help="A profile of the manifest."),
        click.argument("manifest", shell_complete=complete_manifest),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Inspect a manifest's data; generate rows from failures, documents or principles.

    \b
    Example:
      adapters data inspect medical --profile quick --rows 3
      adapters data gates medical
      adapters data from-failures medical --dry-run
      adapters data synth docs/ --generator http://localhost:8000/v1#base --preview
      adapters data constitutional prompts.jsonl --model http://localhost:8000/v1#base --preview
    """


@command.command()
@_manifest_options
@click.option("--rows", "count", type=COUNT, default=5, show_default=True, help="Rows to show.")
@click.option("--split", default="train", type=click.Choice(["train", "validation", "test"]))
@click.option("--gates", "with_gates", is_flag=True, help="Run the data gates too.")
@click.pass_obj
def inspect(
    app: App,
    manifest: str,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    count: int,
    split: str,
    with_gates: bool,
) -> None:
    """Show rendered rows, with the tokens that count in the loss in green.

    \b
    Example:
      adapters data inspect medical --profile quick --rows 3 --gates
    """
    from adapterworks.builders.data.gather import gather
    from adapterworks.manifests.load import load_manifest

    loaded = load_manifest(manifest, profile=profile, overrides=overrides)
    splits = gather(loaded, cache=app.settings.home / "cache", registry=app.registry)
    tokenizer = _tokenizer(app, loaded)
    chosen = getattr(splits, split)[:count]
    rows = [_rendered(tokenizer, row, index, loaded) for index, row in enumerate(chosen)]
    results = _judge(app, loaded, splits, tokenizer) if with_gates else None
    if as_json:
        report = {"split": split, "total": len(getattr(splits, split)), "rows": rows}
        echo_json(report | ({"gates": results.to_json()} if results else {}))
        return
    for row in rows:
        _echo_row(row)
    printing.note(f"{len(rows)} of {len(getattr(splits, split))} {split} rows")
    if results:
        _echo_gates(results)


@command.command()
@_manifest_options
@click.option("--all", "show_all", is_flag=True, help="List all offending rows.")
@click.pass_obj
def gates(
    app: App,
    manifest: str,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    show_all: bool,
) -> None:
    """Run the data gates and list the offending rows; exit code 6 if one refuses.

    \b
    Example:
      adapters data gates medical --profile quick
      adapters data gates medical --json | jq '.gates[] | select(.passed | not)'
    """
    from adapterworks.builders.data.gather import gather
    from adapterworks.manifests.load import load_manifest

    refuse_unless(not as_json, ("show_all",), "the tables; JSON has every offending row")
    loaded = load_manifest(manifest, profile=profile, overrides=overrides)
    rows = gather(loaded, cache=app.settings.home / "cache", registry=app.registry)
    results = _judge(app, loaded, rows, _tokenizer(app, loaded))
    if as_json:
        echo_json(results.to_json())
    else:
        _echo_gates(results, None if show_all else _SHOWN_ROWS)
    if results.failed:
        sys.exit(EXIT_CODES[Refused])


def _judge(
    app: App, manifest: Manifest, rows: Splits, tokenizer: PreTrainedTokenizerBase
) -> GateResults:
    from adapterworks.builders.data.gates.run import judge

    return judge(rows, manifest, tokenizer, registry=app.registry)


def _tokenizer(app: App, manifest: Manifest) -> PreTrainedTokenizerBase:
    """The base's tokenizer; the dense base will do, its tokenizer is the same."""
    from transformers import AutoTokenizer

    from adapterworks.manifests.paths import base_model
    from adapterworks.registry.bases.template import template_of

    base = app.bases.ensure(
        base_model(manifest), template=template_of(manifest), progress=printing.note
    )
    return AutoTokenizer.from_pretrained(base.checkpoint)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, row: Row, index: int, manifest: Manifest
) -> dict[str, Any]:
    """A row as text pieces, each in the loss or not; a row that cannot be encoded says why."""
    from adapterworks.builders.data.render import IGNORED, encode
    from adapterworks.manifests.errors import InvalidInput

    shown: dict[str, Any] = {"row": row.number or index + 1, "source": row.meta.get("source")}
    try:
        encoded = encode(tokenizer, row, manifest.train.max_length, manifest.train.loss_on)
    except InvalidInput as error:
        return shown | {"tokens": 0, "in_loss": 0, "cut": 0, "pieces": [], "error": error.message}
    in_loss = [label != IGNORED for label in encoded.labels]
    pieces = [
        {"text": tokenizer.decode(encoded.input_ids[start:stop]), "in_loss": in_loss[start]}
        for start, stop in _runs(in_loss)
    ]
    return shown | {
        "tokens": len(in_loss),
        "in_loss": sum(in_loss),
        "cut": encoded.cut,
        "pieces": pieces,
    }


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Half-open spans of equal flags."""
    edges = [i for i in range(1, len(flags)) if flags[i] != flags[i - 1]]
    return list(zip([0, *edges], [*edges, len(flags)], strict=True)) if flags else []


def _echo_row(row: dict[str, Any]) -> None:
    cut = f", {row['cut']} answer tokens cut off" if row["cut"] else ""
    source = f" of {printing.harmless(row['source'])}" if row["source"] else ""
    head = f"── row {row['row']}{source}: {row['tokens']} tokens, {row['in_loss']} in the loss{cut}"
    click.secho(head, bold=True)
    if "error" in row:
        click.secho(printing.harmless(row["error"]), fg="red")
    for piece in row["pieces"]:
        # Without colour the loss must show too.
        text = printing.harmless(piece["text"])
        text = f"⟦{text}⟧" if piece["in_loss"] and not _has_colour() else text
        click.secho(text, fg="green" if piece["in_loss"] else None, nl=False, color=_has_colour())
    click.echo("\n")


def _has_colour() -> bool:
    """As `--color` and the environment say, else as the terminal can."""
    wanted = wants_color()
    return sys.stdout.isatty() if wanted is None else wanted


def _echo_gates(results: GateResults, limit: int | None = _SHOWN_ROWS) -> None:
    echo_table(
        ["GATE", "ROWS", "MEASURED", "THRESHOLD", "ACTION"],
        [
            (
                report.name,
                len(report.rows) or "-",
                "not measured" if report.measured is None else f"{report.measured:.4g}",
                "-" if report.threshold is None else f"{report.threshold:g}",
                report.action if report.rows else "-",
            )
            for report in results.reports
        ],
    )
    offending = [report for report in results.reports if report.rows]
    if offending:
        click.echo()
        echo_table(
            ["GATE", "SPLIT", "ROW", "REASON", "EXCERPT"],
            [
                (report.name, found.split, found.row, found.reason, found.excerpt)
                for report in offending
                for found in report.rows[:limit]
            ],
        )
    for report in offending:
        if limit is not None and len(report.rows) > limit:
            more = len(report.rows) - limit
            printing.note(f"{report.name}: {more} more rows; list them with --all")


command.add_command(constitutional.command)
command.add_command(from_failures.command)
command.add_command(synth.command)
