"""`adapters erase dataset:NAME@3 train:17 …`: rows go, and whoever learnt them is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.confirming import confirm
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.erasing import RowErasure
    from adapterworks.registry.datasets.record import Split

_ROW = re.compile(r"(train|validation|test):([1-9][0-9]{0,8})")


def erase_rows(
    app: App, what: str, parts: tuple[str, ...], *, reason: str, yes: bool, as_json: bool
) -> None:
    """Show who has the rows and who learnt them; erase when that is agreed to.

    Raises:
        InvalidInput: no row is named, or one that is not there.
    """
    from adapterworks.builders.data import erasing
    from adapterworks.cli.dataset_reading import find

    if not app.registry.has_index:
        raise InvalidInput(
            "rows are erased where the registry is: they go out of files that only it may change",
            hint="run it there, without `ADAPTERS_REGISTRY`; a file of a release, or all that was "
            "kept of a tenant, can be erased from here",
        )
    from adapterworks.extras import require

    require("build", "`adapters erase` of rows")
    from adapterworks.builders.building.erased import erase_builds, require_idle

    found = erasing.look_for_rows(app.registry, find(app, what), [_row(part) for part in parts])
    if not found.digests:
        raise InvalidInput(
            "which rows are to be erased?", hint=f"name them: adapters erase {what} train:17"
        )
    builds = _builds(app, found)
    require_idle(builds)
    if not as_json:
        _show(found)
        for folder in builds:
            click.echo(f"built from them, its folder goes: {folder}")
    confirm("Erase these rows for good?", yes=yes, what="erased", as_json=as_json)
    erase_builds(builds)  # first: rows that are gone are found no second time
    done = erasing.erase_rows(app.registry, found, who=app.settings.who, why=reason)
    if as_json:
        printing.echo_json({**_table(done), "builds": [str(folder) for folder in builds]})
        return
    click.echo(
        f"erased {len(done.blobs)} files of rows from the blob store, and {len(builds)} folders of "
        "builds here"
    )
    for successor in done.successors:
        click.echo(f"{successor.ref} has the rows that remain")
    for name in done.reviews:
        printing.note(f"review `{name}` had these answers: erased with its votes")
    if done.releases:
        printing.note(
            "the weights of the releases above may hold what they learnt: build them again from "
            "what remains, then `adapters delete REF --with-aliases --purge`"
        )
    printing.note(
        "not reached from here: files that the rows were added from (read again, the rows are "
        "refused), exported copies, builds of such files and of other machines, answers that are "
        f"kept under `{app.settings.home}`, backups"
    )


def _builds(app: App, found: RowErasure) -> list[Path]:
    """Folders of builds on this machine that have the rows."""
    from adapterworks.builders.building.erased import builds_of

    datasets = {one.digest for one in (*(h.dataset for h in found.held), *found.before)}
    datasets |= {one.digest for one in found.unknown}
    trainings = {app.registry.release(one.digest).digests.get("train") for one in found.releases}
    return builds_of(app.settings.home / "builds", datasets, {t for t in trainings if t})


def _row(text: str) -> tuple[Split, int]:
    match = _ROW.fullmatch(text)
    if match is None:
        raise InvalidInput(f"`{text}` names no row", hint="write SPLIT:NUMBER, as train:17")
    splits: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
    return splits[match[1]], int(match[2])


def _show(found: RowErasure) -> None:
    printing.echo_table(
        ("dataset", "rows"),
        (
            (
                held.dataset.ref,
                ", ".join(f"{split} {n}" for split, numbers in held.rows.items() for n in numbers),
            )
            for held in found.held
        ),
    )
    for dataset in found.before:
        click.echo(f"had them, erased before: {dataset.ref}")
    for dataset in found.unknown:
        click.echo(f"may have had them, erased before that was noted: {dataset.ref}")
    for release in found.releases:
        click.echo(f"trained or tested on them, or continued from it: {release}  {release.digest}")
    for text in found.texts:
        goes = "erased whole, with its reviews" if text.goes else "goes with the release alone"
        click.echo(f"says what they say: {text.release} {text.path}: {goes}")


def _table(done: RowErasure) -> dict[str, object]:
    return {
        "rows": sorted(done.digests),
        "datasets": [{"ref": held.dataset.ref, "rows": held.rows} for held in done.held],
        "releases": [{"ref": str(r), "digest": r.digest} for r in done.releases],
        "before": [dataset.ref for dataset in done.before],
        "unknown": [dataset.ref for dataset in done.unknown],
        "texts": [
            {"ref": str(text.release), "path": text.path, "erased": text.goes}
            for text in done.texts
        ],
        "reviews": list(done.reviews),
        "successors": [dataset.ref for dataset in done.successors],
        "blobs": list(done.blobs),
    }
