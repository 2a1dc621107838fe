"""`adapters metrics` and its like: what a manifest can name, and where each entry comes from.

One command for each table; all are made by `_listing`. An entry whose distribution cannot be loaded
is listed with its error, and nothing else suffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from adapterworks.cli.completion import complete_manifest

if TYPE_CHECKING:
    from adapterworks.manifests.builtin import Kind
    from adapterworks.manifests.extensions import Listed

# Column → what it shows of an entry; JSON has the values under the columns' lower-case names.
Facts = Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A table as a command shows it.

    Attributes:
        kind: of the entries.
        place: where a manifest or a command names them.
        facts: its own columns, beside name, origin and description.
        more: values that only JSON has.
    """

    kind: Kind
    place: str
    facts: Facts
    more: Facts


def _listing(name: str, title: str, *shown: Shown) -> click.Command:
    """The command `adapters NAME`, with its help."""

    @click.command(
        name,
        help=f"{title}\n\n"
        "Each line shows where an entry comes from: built in, an installed package and its "
        "version, or, with --manifest, a file beside that manifest. "
        "To add your own, see docs/reference/extensions.md."
        f"\n\n\b\nExample:\n  adapters {name}\n  adapters {name} --json",
    )
    @click.option(
        "--manifest",
        "source",
        help="Also list entries from files that this manifest names.",
        shell_complete=complete_manifest,
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def command(source: str | None, as_json: bool) -> None:
        from adapterworks.cli.printing import echo_json, echo_table

        tables = [(table, _entries(table.kind, source)) for table in shown]
        if as_json:
            echo_json([_json(table, entry) for table, entries in tables for entry in entries])
            return
        for number, (table, entries) in enumerate(tables):
            if len(tables) > 1:
                click.echo(("\n" if number else "") + table.place)
            echo_table(
                ("NAME", "FROM", *table.facts, "DESCRIPTION"),
                (_line(table, entry) for entry in entries),
            )

    return command


def _entries(kind: Kind, source: str | None) -> list[Listed[Any]]:
    """The table's entries, and those of files that a manifest names."""
    from adapterworks.manifests.extensions import Listed, Table, load, origin
    from adapterworks.manifests.load import load_manifest
    from adapterworks.manifests.naming import named_entries
    from adapterworks.manifests.user_code import UserCode

    entries = Table(kind, object).listing()
    if source is not None:
        for of, name in named_entries(load_manifest(source)):
            if of == kind and isinstance(name, UserCode):
                entries.append(Listed(str(name), origin(kind, name), load(kind, name)))
    return entries


def _json(table: Shown, entry: Listed[Any]) -> dict[str, Any]:
    origin = entry.origin
    values: dict[str, Any] = {
        "name": entry.name,
        "table": table.kind,
        "from": str(origin),
        "distribution": origin.distribution,
        "version": origin.version,
        "file": origin.file,
    }
    if entry.fault is not None:
        return {**values, "error": entry.fault}
    try:
        facts = {key.lower(): fact(entry.value) for key, fact in table.facts.items()}
        facts |= {key: fact(entry.value) for key, fact in table.more.items()}
    except Exception as error:  # whatever a stranger's entry is
        return {**values, "error": _wrong(entry, error)}
    return {**values, **facts, "description": _description(entry.value)}


def _line(table: Shown, entry: Listed[Any]) -> Sequence[Any]:
    fault = entry.fault
    if fault is None:
        try:
            facts = [_text(fact(entry.value)) for fact in table.facts.values()]
            return (entry.name, entry.origin, *facts, _description(entry.value))
        except Exception as error:  # whatever a stranger's entry is
            fault = _wrong(entry, error)
    return (entry.name, entry.origin, *["-"] * len(table.facts), f"error: {fault}")


def _wrong(entry: Listed[Any], error: Exception) -> str:
    return f"`{entry.origin.target}` is not what this table holds: {error}"


def _description(value: Any) -> str:
    given = getattr(value, "description", None) or getattr(value, "title", None)
    return str(given or (value.__doc__ or "").partition("\n\n")[0]).strip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of(attribute: str) -> Callable[[Any], Any]:
    return lambda entry: getattr(entry, attribute)


_NOTHING: Facts = {}

methods = _listing(
    "methods",
    "List the fine-tuning methods and their defaults.",
    Shown(
        "methods",
        "method.kind",
        {
            "LEARNING RATE": lambda entry: entry.learning_rate.value,
            "SERVED AS": lambda entry: f"{entry.form}, cut by SVD" if entry.cut else entry.form,
            "SOURCE": _of("source"),
        },
        {
            "kind": _of("kind"),
            "title": _of("title"),
            "learning_rate": lambda entry: entry.learning_rate.value,
            "learning_rate_source": lambda entry: entry.learning_rate.source,
            "servable_form": _of("form"),
            "exact": lambda entry: not entry.cut,
        },
    ),
)
objectives = _listing(
    "objectives",
    "List the training objectives.",
    Shown(
        "objectives",
        "[objective] kind",
        {
            "LEARNS FROM": lambda entry: ", ".join(sorted(entry.takes)),
            "BEST BY": lambda entry: f"{entry.reports} in {entry.unit}",
            "SOURCE": _of("source"),
        },
        {
            "takes": lambda entry: sorted(entry.takes),
            "reports": _of("reports"),
            "unit": _of("unit"),
            "higher_is_better": _of("higher_is_better"),
            "sequences": _of("sequences"),
            "reference": _of("reference"),
        },
    ),
)
metrics = _listing(
    "metrics",
    "List the metrics a manifest can name.",
    Shown(
        "metrics",
        "evaluate.metrics",
        {
            "UNIT": _of("unit"),
            "BETTER": lambda entry: "higher" if entry.higher_is_better else "lower",
        },
        {
            "higher_is_better": _of("higher_is_better"),
            "binary": _of("binary"),
            "needs": _of("needs"),
        },
    ),
)
gates = _listing(
    "gates",
    "List the data gates and the kinds of quality gates.",
    Shown(
        "data_gates",
        "[data.gates.NAME]",
        {"THRESHOLD": _of("threshold"), "ACTION": _of("action")},
        {"unit": _of("unit")},
    ),
    Shown("quality_gates", "[[evaluate.gates]] kind", _NOTHING, _NOTHING),
)
formats = _listing(
    "formats",
    "List the formats that data rows can have.",
    Shown(
        "formats",
        "data.format",
        {"COLUMNS": lambda entry: ", ".join(entry.columns), "GIVES": _of("gives")},
        {"columns": lambda entry: [*entry.columns], "example": _of("example")},
    ),
)
recipes = _listing(
    "recipes",
    "List the recipes: built-in data that a manifest names as NAME:train.",
    Shown("recipes", "data.train", {"LICENSE": _of("license")}, _NOTHING),
)
suites = _listing(
    "suites",
    "List the suites that measure what the base forgot.",
    Shown("retention_suites", "evaluate.retention.suites", _NOTHING, _NOTHING),
)
trackers = _listing(
    "trackers",
    "List the experiment trackers and the package of each.",
    Shown("trackers", "train.trackers", {"PACKAGE": _of("package")}, _NOTHING),
)
merge_rules = _listing(
    "merge-rules",
    "List the rules for merging adapters.",
    Shown(
        "merge_rules",
        "adapters merge --rule",
        {"SPACE": _of("space")},
        {"prunes": _of("prunes"), "random": _of("random")},
    ),
)
exports = _listing(
    "exports",
    "List the export formats.",
    Shown(
        "exports",
        "adapters export --to",
        {"ENGINE": _of("engine"), "TYPES": lambda entry: ", ".join(entry.types)},
        {"engine": _of("engine"), "types": lambda entry: [*entry.types]},
    ),
)
optimizers = _listing(
    "optimizers",
    "List the optimizers.",
    Shown(
        "optimizers",
        "train.optimizer",
        {"BYTES": _of("state"), "PACKAGE": _of("package"), "SOURCE": _of("source")},
        {"needs": _of("needs"), "schedules": lambda entry: [*entry.schedules]},
    ),
)
schedules = _listing(
    "schedules",
    "List the learning-rate schedules.",
    Shown("schedules", "train.schedule", {"SOURCE": _of("source")}, {"falls": _of("falls")}),
)
