"""`adapters samples`: what a training sampled, with its rewards, from the folder of its build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_name
from adapterworks.cli.values import POSITIVE
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.homes import expanded
from adapterworks.manifests.json_lines import read_json_lines

# What a build's folder has behind the adapter's name: the beginning of its training's digest.
_DIGEST = "[0-9a-f]{12}"
_SHOWN = 200  # characters of a question or an answer on a line


@click.command()
@click.argument("build", shell_complete=complete_name)
@click.option("--step", type=POSITIVE, help="Samples of this step only.")
@click.option("--last", type=POSITIVE, default=3, help="Prompts to show (default 3).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with full texts.")
@click.pass_obj
def command(app: App, build: str, step: int | None, last: int, as_json: bool) -> None:
    """Show what a training sampled: prompts, answers and rewards, newest last.

    BUILD is an adapter's name (its newest build) or a folder under `builds/`. The samples contain
    text from your rows, so they stay in that folder and are in no release.

    \b
    Example:
      adapters samples medical
      adapters samples medical --step 40 --last 8 --json
    """
    from adapterworks.cli.printing import echo_json

    path = _samples_of(app.settings.home / "builds", build)
    lines = read_json_lines(path.read_bytes())
    chosen = [line for line in lines if step is None or line["step"] == step][-last:]
    if as_json:
        echo_json(chosen)
        return
    for line in chosen:
        _show(line)


def _samples_of(builds: Path, name: str) -> Path:
    """The file of samples of a build.

    Args:
        name: of an adapter, or of the folder of one build (`medical-1a2b…`), as a path or alone.

    Raises:
        InvalidInput: it can be neither.
        NotFound: there is no such build here, or it sampled nothing.
    """
    place = expanded(name)
    if len(place.parts) != 1:
        if place.absolute().parent.resolve() != builds.resolve():
            raise InvalidInput(
                f"`{name}` is no folder of a build of this ADAPTERS_HOME",
                hint=f"those are in `{builds}`; or name the adapter",
            )
        name = place.absolute().name
    of = re.compile(rf"{re.escape(name)}-{_DIGEST}")
    folders = [
        folder for folder in builds.glob("*") if folder.name == name or of.fullmatch(folder.name)
    ]
    found = [folder / "samples.jsonl" for folder in folders]
    here = sorted((path for path in found if path.is_file()), key=lambda p: p.stat().st_mtime)
    if not here:
        raise NotFound(
            f"no build of `{name}` here has samples",
            hint="objectives that sample answers (`adapters objectives`) write them while they "
            "train",
        )
    return here[-1]


def _show(line: dict[str, Any]) -> None:
    click.echo(
        f"step {line['step']}, row {line['row']}: {printing.excerpt(line['question'], _SHOWN)}"
    )
    if "rewards" not in line:  # of an objective that is taught, not rewarded
        for answer in line["answers"]:
            click.echo(f"  {printing.excerpt(answer, _SHOWN)}")
        return
    pairs = zip(line["rewards"], line["answers"], strict=True)
    for reward, answer in sorted(pairs, key=lambda pair: -pair[0]):
        click.echo(f"  {reward:8.3f}  {printing.excerpt(answer, _SHOWN)}")
