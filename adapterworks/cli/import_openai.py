"""`adapters import openai`: what was exported from OpenAI's fine-tuning becomes manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.import_config import note_table, place_sources, said, sources_of
from adapterworks.cli.values import WrittenFolder
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused

if TYPE_CHECKING:
    from adapterworks.manifests.importing.conversion import Conversion
    from adapterworks.manifests.importing.openai import RowsFile
    from adapterworks.manifests.importing.openai_folder import Exported


@dataclass(frozen=True, slots=True)
class _Made:
    """A job's manifest; `faults` and refused keys keep it from being written."""

    job: str
    place: Path
    done: Conversion
    text: str
    faults: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.faults and not self.done.refused


@click.command("openai")
@click.option(
    "--files",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of job JSON, JSONL and eval definitions.",
)
@click.option(
    "--out", default="manifests", show_default=True, type=WrittenFolder(),
    help="The folder that manifests are written to.",
)  # fmt: skip
@click.option("--base", help="Base for all of them (default: the closest one here).")
@click.option("--leave-out", "left_out", multiple=True, metavar="KEY", help="Leave out this key.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    folder: Path,
    out: Path,
    base: str | None,
    left_out: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a manifest for each fine-tuning job exported from OpenAI.

    The folder has the jobs (`client.fine_tuning.jobs.retrieve` or `list` as JSON), the files of
    rows under their ids or names (with `client.files.list()` as JSON for the latter), and
    definitions of evals. Every key is mapped, taken with a difference that is said, without effect
    here, or refused with the reason; a job with a refused key is not written unless the key is left
    out. `auto` is left to the plan.

    \b
    Example:
      adapters import openai --files export --dry-run
      adapters import openai --files export --base smollm2-135m-instruct
    """
    from adapterworks.manifests.document import require_own_folder
    from adapterworks.manifests.importing.openai_folder import read_folder

    if not dry_run:
        require_own_folder(out)
    found = read_folder(folder)
    if not found.jobs:
        raise NotFound(
            f"`{folder}` has no fine-tuning job",
            hint="save what `client.fine_tuning.jobs.list()` gives as JSON there",
        )
    made, aside = _convert(app, folder, out, base, left_out, found)
    written = [] if dry_run else _write([one for one in made if one.sound], out)
    if as_json:
        printing.echo_json(
            {
                "jobs": [
                    {
                        "job": one.job,
                        "manifest": str(one.place),
                        "written": one.place in written,
                        "notes": [note_table(note) for note in one.done.notes],
                        "faults": list(one.faults),
                    }
                    for one in made
                ],
                "aside": [{"what": what, "why": why} for what, why in aside],
                "left_out": list(left_out),
            }
        )
    else:
        _print(made, aside, left_out)
        for place in written:
            click.echo(f"wrote {place}")
    failed = [one for one in made if not one.sound]
    if failed:
        lines = [
            f"  {one.job}: {why}"
            for one in failed
            for why in (*(f"{said(note)}: {note.why}" for note in one.done.refused), *one.faults)
        ]
        raise Refused(
            f"{len(failed)} of {len(made)} jobs have no manifest:\n" + "\n".join(lines),
            hint="change the export, or leave keys out by name: --leave-out KEY",
        )
    if written and not as_json:
        click.echo(f"next: adapters plan {written[0]}")


def _convert(
    app: App,
    folder: Path,
    out: Path,
    base: str | None,
    left_out: Sequence[str],
    found: Exported,
) -> tuple[list[_Made], list[tuple[str, str]]]:
    """Each job's manifest, and what of the folder belongs to none."""
    from adapterworks.manifests.importing.openai import Around, convert, flat, nearest_base

    flats = [flat(job) for job in found.jobs]
    missing = sorted(set(left_out) - {key for job in flats for key in job})
    if missing:
        raise InvalidInput(f"no job has a key `{missing[0]}` to leave out")
    names = _names(found.jobs)
    made_by = {
        str(job["fine_tuned_model"]): name
        for job, name in zip(found.jobs, names, strict=True)
        if job.get("fine_tuned_model")
    }
    of_rows = ("training_file", "validation_file")
    wanted = {str(job.get(key)) for job in found.jobs for key in of_rows}
    used = {key: path for key, path in found.rows.items() if key in wanted}
    files = {key: _rows_file(path, folder) for key, path in used.items()}
    bases = _bases(app)
    made = []
    judged: set[int] = set()
    for job, keys, name in zip(found.jobs, flats, names, strict=True):
        evals = [
            one
            for one in found.evals
            if len(found.jobs) == 1 or (one.get("id") and one["id"] == job.get("eval_id"))
        ]
        judged |= {id(one) for one in evals}
        around = Around(
            base or nearest_base(str(job.get("model")), bases), files, made_by, _usual_rate, evals
        )
        kept = {key: value for key, value in keys.items() if key not in left_out}
        done = convert(kept, name, around)
        made.append(_checked(str(job.get("id")), done, folder, out / f"{name}.toml", left_out))
    aside = list(found.unread)
    paths = set(used.values())
    aside += [
        (path.relative_to(folder).as_posix(), "no job names it")
        for path in sorted({*found.rows.values()} - paths)
    ]
    aside += [
        (str(one.get("id") or one.get("name")), "no job names this eval as its `eval_id`")
        for one in found.evals
        if id(one) not in judged
    ]
    return made, aside


def _names(jobs: Sequence[dict[str, Any]]) -> list[str]:
    """Each job's adapter; of two with one suffix the later one has a number."""
    from adapterworks.manifests.importing.openai import name_of

    taken: list[str] = []
    for job in jobs:
        name, number = name_of(job), 2
        while name in taken:
            name, number = f"{name_of(job)[:58]}-{number}", number + 1
        taken.append(name)
    return taken


def _bases(app: App) -> list[str]:
    from adapterworks.registry.bases.sources import EMBEDDED

    return sorted({*EMBEDDED, *(base.name for base in app.bases.list())})


def _usual_rate(objective: str) -> float:
    """What LoRA is trained with under an objective, where nothing is said."""
    from adapterworks.builders.methods.technique import Technique
    from adapterworks.builders.objectives.objective import Objective
    from adapterworks.builders.plan.lints import usual_rate
    from adapterworks.manifests.extensions import load

    technique: Technique[Any] = load("methods", "lora")
    chosen: Objective = load("objectives", objective)
    return usual_rate(technique, chosen).value


def _rows_file(path: Path, folder: Path) -> RowsFile:
    """Look at every line, as an upload is looked at."""
    import json

    from adapterworks.gateway.files.rows import check_of
    from adapterworks.manifests.importing.openai import RowsFile

    check = check_of("fine-tune")
    assert check is not None  # it is a purpose whose rows are looked at
    where = path.relative_to(folder).as_posix()
    try:
        with path.open("rb") as stream:
            first = b""
            while piece := stream.read(1 << 20):
                first = first or piece
                check.feed(piece)
        facts = check.close()
    except InvalidInput as error:
        return RowsFile(where, "", fault=f"`{where}`: {error.message}")
    with path.open("rb") as stream:
        line = next(line for line in stream if line.strip())
    row = json.loads(line)
    texts = tuple(key for key, value in row.items() if isinstance(value, str))
    return RowsFile(where, facts.kind, texts)


def _checked(
    job: str, done: Conversion, folder: Path, place: Path, left_out: Sequence[str]
) -> _Made:
    """With its text, and the faults that `adapters validate` would find."""
    import tomllib

    from adapterworks.manifests.document import Document
    from adapterworks.manifests.load import check_document
    from adapterworks.manifests.toml import to_toml

    place_sources(done.manifest, folder, place.parent)
    head = f"# From OpenAI's job {''.join(c for c in job if c.isprintable())[:100]}."
    if left_out:
        head += f"\n# Left out: {', '.join(left_out)}."
    text = f"{head}\n\n{to_toml(done.manifest, sources_of(done))}"
    if done.refused:
        return _Made(job, place, done, text, ())
    document = Document(str(place), text, place.parent, tomllib.loads(text), {})
    _, faults = check_document(document, profile=None, overrides=())
    return _Made(job, place, done, text, tuple(str(fault) for fault in faults))


def _write(made: Sequence[_Made], out: Path) -> list[Path]:
    """All of them, or none where something stands there already."""
    for one in made:
        if one.place.exists():
            raise InvalidInput(f"`{one.place}` exists already", hint="name another with `--out`")
    out.mkdir(parents=True, exist_ok=True)
    for one in made:
        one.place.write_text(one.text, encoding="utf-8")
    return [one.place for one in made]


def _print(
    made: Sequence[_Made], aside: Sequence[tuple[str, str]], left_out: Sequence[str]
) -> None:
    rows: list[tuple[str, ...]] = []
    idle: dict[tuple[str, str], list[str]] = {}
    for one in made:
        for note in one.done.notes:
            if note.outcome == "no effect" and note.value is not None:
                idle.setdefault((note.key, note.why), []).append(one.place.stem)
            elif note.outcome == "refused" or note.value is not None:
                name = one.place.stem
                rows.append((name, said(note), note.outcome, " ".join(note.to), note.why))
    rows += [("", what, "not used", "", why) for what, why in aside]
    printing.echo_table(("ADAPTER", "KEY", "", "BECOMES", "WHY"), rows)
    for why, entries in groupby(sorted(idle.items(), key=_why_of), key=_why_of):
        keys = ", ".join(
            key if len(names) == len(made) else f"{key} ({', '.join(names)})"
            for (key, _), names in entries
        )
        click.echo(f"no effect, {why}: {keys}")
    for key in left_out:
        click.echo(f"left out: {key}")


def _why_of(entry: tuple[tuple[str, str], list[str]]) -> str:
    return entry[0][1]
