"""`adapters import llama-factory|axolotl|trl`: another program's configuration as a manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.values import WrittenFile
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.importing.trl_objectives import TRAINERS

if TYPE_CHECKING:
    from adapterworks.manifests.importing.conversion import Conversion, Note

_HELP = """Convert a configuration of {title} to a manifest.

    FILE is its YAML (or JSON) file. Every key is mapped, taken with a difference that is said,
    without effect here, or refused with the reason; defaults of {title} that are not ours are
    written out. While a key is refused nothing is written: change it, or leave it out with
    --leave-out KEY, which the manifest then says. What is written is validated: where that finds
    faults they are printed, the file stays, and the command fails.

    \b
    Example:
      adapters import {program} train.yaml
      adapters import {program} train.yaml --as support --out support.toml
"""
_TITLES = {"llama-factory": "LLaMA-Factory", "axolotl": "Axolotl", "trl": "TRL"}
# Programs whose file does not say of which trainer it is: their command does.
_TRAINERS = {"trl": [trainer.name for trainer in TRAINERS]}


def config_command(program: str) -> click.Command:
    """The command of one program."""

    @click.command(program, help=_HELP.format(title=_TITLES[program], program=program))
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--as", "name", help="The adapter's name (default: the file's).")
    @click.option("--out", type=WrittenFile(), help="File to write (default: NAME.toml).")
    @click.option(
        "--leave-out", "left_out", multiple=True, metavar="KEY", help="Leave out this key."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.pass_obj
    def command(
        app: App,
        file: Path,
        name: str | None,
        out: Path | None,
        left_out: tuple[str, ...],
        as_json: bool,
        trainer: str | None = None,
    ) -> None:
        import_config(
            program,
            file,
            name=name,
            out=out,
            left_out=left_out,
            as_json=as_json,
            trainer=trainer,
        )

    if trainers := _TRAINERS.get(program):
        command.params.insert(
            1,
            click.Option(
                ["--trainer"],
                type=click.Choice(trainers),
                default=trainers[0],
                show_default=True,
                help=f"The command of `{program}` that the file is for.",
            ),
        )
    return command


def import_config(
    program: str,
    file: Path,
    *,
    name: str | None,
    out: Path | None,
    left_out: tuple[str, ...],
    as_json: bool,
    trainer: str | None = None,
) -> None:
    """Convert, write and validate.

    Raises:
        InvalidInput: the file is no table of keys, something stands where it is written to, or
            what was written has faults.
        Refused: a key cannot be honoured.
    """
    from adapterworks.manifests.importing import PROGRAMS
    from adapterworks.manifests.load import check_manifest
    from adapterworks.manifests.toml import to_toml

    given = read_config(file)
    missing = sorted(set(left_out) - given.keys())
    if missing:
        raise InvalidInput(f"`{file}` has no key `{missing[0]}` to leave out")
    kept = {key: value for key, value in given.items() if key not in left_out}
    said_trainer = {} if trainer is None else {"trainer": trainer}
    done = PROGRAMS[program](kept, file.parent, name or file.stem, **said_trainer)
    adapter = done.manifest["adapter"]["name"]
    place = out or Path(f"{adapter}.toml")
    if not as_json:
        _print(done, left_out)
    if done.refused:
        listed = "\n".join(f"  {said(note)}: {note.why}" for note in done.refused)
        raise Refused(
            f"{len(done.refused)} of its keys cannot be honoured:\n{listed}",
            hint="change them, or leave them out by name: --leave-out KEY",
        )
    if place.exists():
        raise InvalidInput(f"`{place}` exists already", hint="name another with `--out`")
    place_sources(done.manifest, file.parent, place.parent)
    head = f"# From {file.name} of {_TITLES[program]}."
    if left_out:
        head += f"\n# Left out: {', '.join(left_out)}."
    place.write_text(f"{head}\n\n{to_toml(done.manifest, sources_of(done))}", encoding="utf-8")
    _, faults = check_manifest(place)
    if as_json:
        printing.echo_json(
            {
                "manifest": str(place),
                "notes": [note_table(note) for note in done.notes],
                "left_out": list(left_out),
                "faults": [str(fault) for fault in faults],
            }
        )
    else:
        click.echo(f"wrote {place}")
        for fault in faults:
            click.echo(str(fault), err=True)
    if faults:
        raise InvalidInput(
            f"`{place}` was written, and {len(faults)} of its keys cannot be as they are",
            hint=f"change them in it, and ask `adapters validate {place}`",
        )
    if not as_json:
        click.echo(f"next: adapters plan {place}")


def read_config(file: Path) -> dict[str, Any]:
    """The keys of a YAML or JSON file; nothing in it is run.

    Dates are texts, as they are to a trainer, and nothing is there that JSON has not.

    Raises:
        InvalidInput: it cannot be read, or is no table.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """No dates: `2025-02-30` is the name of a run."""

    for kind in ("timestamp", "binary"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", yaml.SafeLoader.construct_yaml_str)
    for kind in ("set", "omap", "pairs"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", yaml.SafeLoader.construct_undefined)
    try:
        given = yaml.load(file.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidInput(f"`{file}` is no YAML: {error}") from error
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise InvalidInput(f"`{file}` is no table of keys")
    return given


def place_sources(manifest: dict[str, Any], before: Path, after: Path) -> None:
    """Files beside the configuration, as the manifest's folder sees them."""
    data = manifest.get("data", {})
    tables = [(data, key) for key in ("train", "validation", "test") if key in data]
    tables += [(entry, "source") for entry in data.get("mix", [])]
    tables += [(manifest["base"], "model")] if "model" in manifest.get("base", {}) else []
    for table, key in tables:
        source = str(table[key])
        path = before / source
        if source.startswith("hub:") or not path.exists():
            continue
        if not Path(source).is_absolute() or path.is_relative_to(before):
            table[key] = Path(os.path.relpath(path.resolve(), after.resolve())).as_posix()


def sources_of(done: Conversion) -> dict[str, str]:
    """Which key each came from, where its name says something."""
    return {
        path: f"{note.key}'s default" if note.value is None else said(note)
        for note in done.notes
        for path in note.to
        if note.outcome in ("mapped", "differs")
    }


def _short(value: Any) -> str:
    return (
        str(value) if isinstance(value, int | float | bool | str) and len(str(value)) < 30 else ""
    )


def said(note: Note) -> str:
    return f"{note.key} {_short(note.value)}".strip() if note.value is not None else note.key


def note_table(note: Note) -> dict[str, Any]:
    return {
        "key": note.key,
        "value": note.value,
        "outcome": note.outcome,
        "to": list(note.to),
        "why": note.why,
    }


def _print(done: Conversion, left_out: tuple[str, ...]) -> None:
    shown = [note for note in done.notes if note.value is not None or note.outcome == "refused"]
    printing.echo_table(
        ("KEY", "", "BECOMES", "WHY"),
        ((said(note), note.outcome, " ".join(note.to), note.why) for note in shown),
    )
    for key in left_out:
        click.echo(f"left out: {key}")
