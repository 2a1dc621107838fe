"""`adapters data from-failures`: what a release got wrong, in clusters, becomes a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.failures.clusters import Cluster
    from adapterworks.builders.failures.failure import Failure
    from adapterworks.registry.releases.types import Resolved

_EXAMPLES = 3


@click.command("from-failures")
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["evaluation", "feedback"]),
    default="evaluation",
    show_default=True,
    help="The release's own evaluation, or a file of `adapters feedback export`.",
)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", help="Of feedback: of this tenant's questions only.")
@click.option("--metric", help="Of an evaluation: says what is right; its first by default.")
@click.option("--pool", help="Of an evaluation: where rows like the failures are taken from.")
@click.option("--each", default=3, show_default=True, help="Rows of the pool for every failure.")
@click.option(
    "--distance",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Cosine distance up to which failures are alike.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Of the clusters: rows are made of those with the most traffic.",
)
@click.option("--dataset", "name", help="The dataset's name; REF's with `-failures` if not given.")
@click.option("--dry-run", is_flag=True, help="Show the clusters and write no dataset.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    origin: str,
    file: Path | None,
    tenant: str | None,
    metric: str | None,
    pool: str | None,
    each: int,
    distance: float,
    share: float,
    name: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cluster what a release got wrong, and make a dataset of what to learn next.

    Feedback gives corrections, which become rows. An evaluation's failures are test rows, which may
    never be learnt: rows of the POOL that are like them stand in for them, without those that the
    release was trained on. The pool is the release's own source of training rows if none is named.

    \b
    Example:
      adapters data from-failures medical --dry-run
      adapters data from-failures medical@3 --from evaluation --share 0.5
      adapters data from-failures medical --from feedback --file reviewed.jsonl
    """
    from adapterworks.builders.data.adding import About, add_dataset
    from adapterworks.builders.failures.clusters import cluster
    from adapterworks.builders.failures.evaluated import evaluated_failures
    from adapterworks.builders.failures.rows import corrected
    from adapterworks.builders.failures.told import read_told
    from adapterworks.registry.releases.release import Parent

    release = app.registry.resolve(app.look_for(ref))
    failures: Sequence[Failure]
    traffic: Sequence[str] = ()
    if origin == "evaluation":
        if file is not None or tenant is not None:
            raise InvalidInput(
                "`--file` and `--tenant` are of feedback", hint="add --from feedback"
            )
        failures, asked = evaluated_failures(app.registry, release, metric)
    else:
        if file is None:
            raise InvalidInput(
                "which feedback?",
                hint=f"adapters feedback export --adapter {release.name} > FILE; --file FILE",
            )
        told = read_told(file, release.name, tenant=tenant)
        failures, traffic, asked = told.failures, told.traffic, len(told.traffic)
        if told.withheld:
            app.note(f"{told.withheld} failures are of tenants who let nobody learn from them")
    clusters = cluster(failures, traffic, distance=distance, share=share)
    first = [found for found in clusters if found.first]
    if as_json and dry_run:
        printing.echo_json([_table(found) for found in clusters])
    elif not as_json:
        click.echo(
            f"{release}: {len(failures)} of {asked} answers were wrong, in {len(clusters)} clusters"
        )
        _show(clusters)
    if dry_run or not failures:
        return
    rows = corrected(first) if origin == "feedback" else _of_pool(app, release, first, pool, each)
    if not rows:
        app.note(
            "no failure of the first clusters was corrected: no dataset was written"
            if origin == "feedback"
            else "the pool has no row like them that is not learnt yet: no dataset was written"
        )
        return
    owner = failures[0].tenant
    about = About(
        description=f"What {release} got wrong, {origin}",
        source=f"{len(first)} of {len(clusters)} clusters of failures of {release}",
        tenant=owner,
        share="all" if owner and all(one.share == "all" for one in failures) else "own",
        parents=(Parent(relation="failures", digest=release.digest, ref=str(release)),),
    )
    added = add_dataset(
        app.registry,
        name or f"{release.name}-failures",
        {"train": rows},
        about,
        drop_sealed=True,
        who=app.settings.who,
        why=f"failures of {release}",
    )
    if as_json:
        table = {"dataset": added.dataset.ref, "digest": added.dataset.digest, "new": added.new}
        printing.echo_json(
            table
            | {"rows": added.dataset.record.rows, "dropped": added.dropped}
            | {"clusters": [_table(found) for found in clusters]}
        )
        return
    if added.dropped:
        app.note(f"{added.dropped} rows were ever test rows and were left out")
    click.echo(f"{added.dataset.ref}  {added.dataset.record.rows} rows  {added.dataset.digest}")


def _of_pool(
    app: App, release: Resolved, first: Sequence[Cluster], pool: str | None, each: int
) -> list[Row]:
    """Rows of the pool like the failures, which the release was not trained on."""
    import json

    from adapterworks.builders.data.assemble import rows_to_evaluate
    from adapterworks.builders.data.load import load_like
    from adapterworks.builders.data.places import located
    from adapterworks.builders.evaluation.subjects import find_subject
    from adapterworks.builders.failures.rows import like_failures
    from adapterworks.registry.reading.diff import LOCK

    cache = app.settings.home / "cache"
    found = find_subject(app.registry, app.bases, str(release))
    lock = json.loads(app.registry.read(release.digest, LOCK))
    manifest = located(found.manifest, lock, what=str(release), cache=cache)
    learnt = rows_to_evaluate(manifest, cache=cache, registry=app.registry)
    rows = load_like(
        manifest,
        pool or manifest.data.train,
        cache=cache,
        folder=Path() if pool else manifest.folder,
        registry=app.registry,
    ).rows
    without = {row.digest for row in (*learnt.train, *learnt.validation, *learnt.test)}
    return like_failures(first, rows, without=without, each=each)


def _show(clusters: Sequence[Cluster]) -> None:
    for found in clusters:
        mark = "*" if found.first else " "
        click.echo(
            f"\n{mark} {found.number}  {len(found.failures)} failures, traffic {found.traffic}: "
            f"{printing.harmless(', '.join(found.words))}"
        )
        for failure in found.failures[:_EXAMPLES]:
            right = failure.correction or failure.meta.get("reference")
            shown = f"{_line(failure.question)} → {_line(failure.answer, 40)}"
            click.echo(f"      {shown}" + (f" (right: {_line(right, 40)})" if right else ""))


def _line(text: str, limit: int = 90) -> str:
    line = " ".join(printing.harmless(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _table(found: Cluster) -> dict[str, Any]:
    return {
        "number": found.number,
        "first": found.first,
        "failures": len(found.failures),
        "traffic": found.traffic,
        "words": found.words,
        "examples": [
            {"question": one.question, "answer": one.answer, "place": one.place}
            for one in found.failures[:_EXAMPLES]
        ],
    }
