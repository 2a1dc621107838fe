"""`adapters data from-failures`: what a release got wrong, in clusters, becomes a dataset."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Duration
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import COUNT, NAME, Real
from adapterworks.manifests.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from adapterworks.builders.failures.captured import Owner
    from adapterworks.builders.failures.clusters import Cluster
    from adapterworks.builders.failures.failure import Failure
    from adapterworks.builders.failures.reported import Reported
    from adapterworks.gateway.tenants.tenant import Tenant
    from adapterworks.registry.exchanges.exchange import Share
    from adapterworks.registry.releases.types import Resolved

_EXAMPLES = 3


@click.command("from-failures")
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["evaluation", "feedback", "capture"]),
    default="evaluation",
    show_default=True,
    help="The release's evaluation, a file from `adapters feedback export`, or captured answers.",
)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", help="For feedback and capture: only this tenant's questions.")
@click.option(
    "--since", type=Duration(), help="For capture: only what was asked since then (7d, 12h)."
)
@click.option(
    "--metric", help="For evaluation: the metric that decides what is right (default: its first)."
)
@click.option("--pool", help="For evaluation: where to take similar rows from.")
@click.option(
    "--each", type=COUNT, default=3, show_default=True, help="Rows of the pool per failure."
)
@click.option(
    "--distance",
    type=Real(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Largest cosine distance within a cluster.",
)
@click.option(
    "--share",
    type=Real(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the clusters to use, those with the most traffic first.",
)
@click.option(
    "--dataset", "name", type=NAME, help="The dataset's name (default: REF's with `-failures`)."
)
@click.option("--dry-run", is_flag=True, help="Show the clusters and write no dataset.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    origin: str,
    file: Path | None,
    tenant: str | None,
    since: int | None,
    metric: str | None,
    pool: str | None,
    each: int,
    distance: float,
    share: float,
    name: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cluster what a release got wrong, and make a dataset to train on next.

    Feedback gives corrections, which become rows. `capture` reads it where it is sealed, with every
    question that was asked as the traffic. Both take what its tenant lets be learnt, then and now:
    the dataset is that tenant's, with the same share. An evaluation's failures are test rows, which
    may never be learnt: rows of the POOL that are like them stand in for them, without those that
    the release was trained on. The pool is its own source of training rows if none is named.

    \b
    Example:
      adapters data from-failures medical --dry-run
      adapters data from-failures medical@3 --from evaluation --share 0.5
      adapters data from-failures medical --from capture --tenant acme --since 7d
      adapters data from-failures medical --from feedback --file reviewed.jsonl
    """
    from adapterworks.builders.data.adding import About, add_dataset
    from adapterworks.builders.failures.clusters import cluster
    from adapterworks.builders.failures.evaluated import evaluated_failures
    from adapterworks.builders.failures.lineage import (
        failed_releases,
        owners_of_training,
        shared_by,
    )
    from adapterworks.builders.failures.pool import rows_of_pool
    from adapterworks.builders.failures.rows import corrected

    _require_options(origin, file=file, tenant=tenant, since=since)
    refuse_unless(origin == "evaluation", ("metric", "pool", "each"), "--from evaluation")
    release = app.registry.resolve(app.look_for(ref))
    failures: Sequence[Failure]
    traffic: Sequence[str] = ()
    if origin == "evaluation":
        failures, asked = evaluated_failures(app.registry, release, metric)
    else:
        reported = _reported(app, release, file, tenant, since)
        failures, traffic, asked = reported.failures, reported.traffic, len(reported.traffic)
        if reported.withheld:
            app.note(f"{reported.withheld} failures are of tenants who let nobody learn from them")
    clusters = cluster(failures, traffic, distance=distance, share=share)
    first = [found for found in clusters if found.first]
    if as_json and dry_run:
        printing.echo_json([_table(found) for found in clusters])
    elif not as_json:
        click.echo(
            f"{release if origin == 'evaluation' else release.name}: {len(failures)} of {asked} "
            f"answers were wrong, in {len(clusters)} clusters"
        )
        _show(clusters)
    if dry_run or not failures:
        return
    of_pool = origin == "evaluation"
    if of_pool:
        cache = app.settings.home / "cache"
        rows = rows_of_pool(app.registry, app.bases, release, first, pool, each=each, cache=cache)
    else:
        rows = corrected(first)
    if not rows:
        app.note(
            "the pool has no row like them that is not learnt yet: no dataset was written"
            if of_pool
            else "no failure of the first clusters was corrected: no dataset was written"
        )
        return
    owner = failures[0].tenant
    about = About(
        description=f"What {release} got wrong, {origin}",
        source=f"{len(first)} of {len(clusters)} clusters of failures of {release}",
        consent="" if owner is None else f"{owner}'s, for what was kept of its traffic",
        tenant=owner,
        share=shared_by(failures) if owner else None,
        parents=failed_releases(app.registry, release, first),
    )
    added = add_dataset(
        app.registry,
        name or f"{release.name}-failures",
        {"train": rows},
        about,
        drop_sealed=True,
        claims=owners_of_training(app.registry, release) if of_pool and pool is None else (),
        who=app.settings.who,
        why=f"failures of {release}",
    )
    if as_json:
        table = {"dataset": added.dataset.ref, "digest": added.dataset.digest, "new": added.new}
        printing.echo_json(
            table
            | {"rows": added.dataset.record.rows}
            | {"dropped": added.dropped, "erased": added.erased}
            | {"clusters": [_table(found) for found in clusters]}
        )
        return
    if added.erased:
        app.note(f"{added.erased} rows were erased from this registry and were left out")
    if added.dropped:
        app.note(f"{added.dropped} rows were ever test rows and were left out")
    click.echo(f"{added.dataset.ref}  {added.dataset.record.rows} rows  {added.dataset.digest}")


def _require_options(origin: str, **given: object) -> None:
    """Each option is of some origins only.

    Raises:
        InvalidInput: one is of another.
    """
    of = {"file": ("feedback",), "tenant": ("feedback", "capture"), "since": ("capture",)}
    for name, value in given.items():
        if value is not None and origin not in of[name]:
            raise InvalidInput(f"`--{name}` is of {of[name][0]}", hint=f"add --from {of[name][0]}")
    if origin == "feedback" and given["file"] is None:
        raise InvalidInput(
            "which feedback?",
            hint="adapters feedback export --adapter NAME > FILE; --file FILE, or --from capture",
        )


def _reported(
    app: App, release: Resolved, file: Path | None, tenant: str | None, since: int | None
) -> Reported:
    """What people said was wrong: of a file, or of what was captured where none is named.

    Raises:
        InvalidInput: a file's line is none of an export, or several tenants' are not told apart.
    """
    from adapterworks.builders.failures.captured import captured
    from adapterworks.builders.failures.reported import read_reported, reported_failures
    from adapterworks.cli.tenant_shown import admin

    if file is not None:
        return read_reported(file, release.name, tenant=tenant, shares=_shares(app, release.name))
    chosen = admin(app).list() if tenant is None else [admin(app).show(tenant)[0]]
    owners = {one.id: _owner(one, release.name) for one in chosen}
    items = app.exchanges.read(
        tenant=None if tenant is None else chosen[0].id,
        adapter=release.name,
        since=0.0 if since is None else time.time() - since,
    )
    answered, unread = captured(items, owners)
    if unread:
        app.note(f"{unread} answers are to turns that are no texts, and were left out")
    return reported_failures(answered, release.name)


def _owner(tenant: Tenant, adapter: str) -> Owner:
    """A tenant as it is now: who has withdrawn its consent shares with nobody."""
    from adapterworks.builders.failures.captured import Owner

    return Owner(tenant.name, tenant.shares(adapter))


def _shares(app: App, adapter: str) -> dict[str, Share]:
    """What tenants let be learnt now, by name; none where this user may not ask for them."""
    from adapterworks.cli.tenant_shown import admin

    try:
        return {one.name: one.shares(adapter) for one in admin(app).list()}
    except Refused:
        app.note("tenants could not be asked what they share now: the file's own words count")
        return {}


def _show(clusters: Sequence[Cluster]) -> None:
    for found in clusters:
        mark = "*" if found.first else " "
        click.echo(
            f"\n{mark} {found.number}  {len(found.failures)} failures, traffic {found.traffic}: "
            f"{printing.harmless(', '.join(found.words))}"
        )
        for failure in found.failures[:_EXAMPLES]:
            right = failure.correction or failure.meta.get("reference")
            asked = printing.excerpt(failure.question, 90)
            given = printing.excerpt(failure.answer, 40)
            answer = f" (right: {printing.excerpt(right, 40)})" if right else ""
            click.echo(f"      {asked} → {given}{answer}")


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
