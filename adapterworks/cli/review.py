"""`adapters review`: people compare two releases, blind; what they say is a metric and a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import printing, review_judging, review_shown
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.review_files import folder_of, review_of, reviews_of
from adapterworks.cli.tenant_shown import cells
from adapterworks.cli.values import NAME, SEED, Real

if TYPE_CHECKING:
    from adapterworks.builders.reviewing.outcome import Outcome
    from adapterworks.builders.reviewing.review import Review
    from adapterworks.builders.reviewing.votes import Votes

_name = click.argument("name")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_confidence = click.option(
    "--confidence",
    type=Real(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
)


@click.group()
def command() -> None:
    """Let people compare two releases blind, and gate aliases on the outcome.

    \b
    Example:
      adapters review start medical@4 medical@3 --rows 50
      adapters review ask medical-4-3 --reviewer ann
      adapters review show medical-4-3
      adapters review close medical-4-3 --why "two coders, 50 rows"
    """


for _command in (review_judging.next_, review_judging.vote, review_judging.ask):
    command.add_command(_command)


@command.command()
@click.argument("reviewed", shell_complete=complete_ref)
@click.argument("against", shell_complete=complete_ref)
@click.option("--name", type=NAME, help="Name of the review (default: ADAPTER-N-M).")
@click.option("--rows", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "--scale",
    type=click.Choice(["pairwise", "likert"]),
    default="pairwise",
    show_default=True,
    help="Choose the better of two answers, or mark each one from 1 to 5.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed for drawing rows.")
@_as_json
@click.pass_obj
def start(
    app: App,
    reviewed: str,
    against: str,
    name: str | None,
    rows: int,
    scale: Literal["pairwise", "likert"],
    seed: int,
    as_json: bool,
) -> None:
    """Draw test rows that both releases have answered.

    The answers come from the releases' own evaluations, so no model is asked. Rows with identical
    answers are not shown and count as ties.

    \b
    Example:
      adapters review start medical@4 medical@3 --rows 50
      adapters review start medical:candidate medical:prod --scale likert --name spring
    """
    from adapterworks.builders.reviewing.review import draw, write_review

    first, second = (app.registry.resolve(app.look_for(ref)) for ref in (reviewed, against))
    named = name or f"{first.name}-{first.version}-{second.version}"
    review = draw(app.registry, named, first, second, rows=rows, scale=scale, seed=seed)
    write_review(folder_of(app), review)
    if as_json:
        printing.echo_json(review_shown.table(review))
        return
    same = sum(item.same for item in review.items)
    click.echo(
        f"{named}: {len(review.items)} of {review.of} rows of {first} and {second}, "
        f"{same} of them answered alike; next: adapters review ask {named} --reviewer NAME"
    )


@command.command("list")
@_as_json
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List reviews.

    \b
    Example:
      adapters review list
    """
    tables = [review_shown.table(review) for review in reviews_of(app)]
    if as_json:
        printing.echo_json(tables)
        return
    columns = ("name", "reviewed", "against", "scale", "rows")
    printing.echo_table(columns, [cells(table, columns) for table in tables])


@command.command()
@_name
@_confidence
@_as_json
@click.pass_obj
def show(app: App, name: str, confidence: float, as_json: bool) -> None:
    """Show which release people prefer, with an interval, and how far they agree.

    \b
    Example:
      adapters review show medical-4-3
    """
    review, _, found = _outcome(app, name, confidence)
    if as_json:
        printing.echo_json(review_shown.table(review) | found.to_json())
        return
    click.echo(review_shown.line(review, found))
    columns = ("first", "second", "ballots", "same", "kappa")
    rows = [{key: printing.rounded(getattr(pair, key)) for key in columns} for pair in found.agreed]
    printing.echo_table(columns, [cells(row, columns) for row in rows])
    if found.alpha is not None:
        click.echo(f"Krippendorff's alpha {found.alpha:.3f}")
    if found.first_shown is not None:
        click.echo(f"the answer that stood first was chosen {found.first_shown:.0%} of the time")


@command.command()
@_name
@_confidence
@click.option("--why", required=True, help="Reason, for the log.")
@_as_json
@click.pass_obj
def close(app: App, name: str, confidence: float, why: str, as_json: bool) -> None:
    """Record the outcome in the release's log, where an alias's `review` gate reads it.

    The interval assumes that reviewers and rows were fixed in advance: a gate accepts no outcome
    unless every reviewer has judged every row, and none below 95 % confidence.

    \b
    Example:
      adapters review close medical-4-3 --why "two coders, 50 rows"
    """
    review, held, found = _outcome(app, name, confidence)
    version = app.registry.resolve(app.ref(f"{review.adapter}@{review.reviewed.digest}")).version
    facts: dict[str, Any] = {
        "review": review.digest,
        "against": review.against.digest,
        "scale": review.scale,
        "reviewers": len(found.reviewers),
        "rows": found.rows,
        "preferred": found.preferred,
        "low": found.low,
        "high": found.high,
        "confidence": confidence,
        "alpha": found.alpha,
        "unfinished": len(held.unfinished),
    }
    event = app.registry.log.note(
        review.adapter, version, "review", who=app.settings.who, why=why, **facts
    )
    if as_json:
        printing.echo_json(event)
    else:
        click.echo(f"noted: {review_shown.line(review, found)}")


@command.command()
@click.argument("adapter")
@_confidence
@_as_json
@click.pass_obj
def rank(app: App, adapter: str, confidence: float, as_json: bool) -> None:
    """Rank an adapter's releases by all its reviews: Bradley–Terry strengths with intervals.

    \b
    Example:
      adapters review rank medical
    """
    from adapterworks.builders.reviewing.bradley_terry import fit
    from adapterworks.builders.reviewing.outcome import judged, preferences_of
    from adapterworks.builders.reviewing.votes import Votes
    from adapterworks.manifests.errors import InvalidInput

    held = [Votes(folder_of(app), one) for one in reviews_of(app) if one.adapter == adapter]
    held = [one for one in held if preferences_of(one.review, one.all, one.looked)]
    found = [one.review for one in held]
    sides = {side.digest: side.ref for one in found for side in (one.against, one.reviewed)}
    if not sides:
        raise InvalidInput(
            f"nobody has judged a review of `{adapter}` yet",
            hint=f"adapters review start {adapter}@N {adapter}@M",
        )
    places = {digest: at for at, digest in enumerate(sides)}
    numbers: dict[str, int] = {}
    comparisons = [
        judgement
        for one in held
        for judgement in judged(one.review, one.all, places, numbers, one.looked)
    ]
    strengths = fit(comparisons, len(sides))
    rows = []
    for at in sorted(places.values(), key=lambda at: -strengths.values[at]):
        low, high = strengths.interval(at, confidence)
        digest = [*sides][at]
        rows.append(
            {
                "release": sides[digest],
                "digest": digest,
                "strength": printing.rounded(float(strengths.values[at])),
                "low": printing.rounded(low),
                "high": printing.rounded(high),
            }
        )
    if as_json:
        printing.echo_json(rows)
        return
    columns = ("release", "strength", "low", "high")
    printing.echo_table(columns, [cells(row, columns) for row in rows])


def _outcome(app: App, name: str, confidence: float) -> tuple[Review, Votes, Outcome]:
    from adapterworks.builders.reviewing.outcome import outcome
    from adapterworks.builders.reviewing.votes import Votes

    review = review_of(app, name)
    held = Votes(folder_of(app), review)
    return review, held, outcome(review, held.all, confidence, looked=held.looked)
