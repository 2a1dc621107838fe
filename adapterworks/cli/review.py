"""`adapters review`: people compare two releases, blind; what they say is a metric and a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import printing, review_shown
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.tenant_shown import cells
from adapterworks.cli.values import COUNT, NAME, SEED, Real

if TYPE_CHECKING:
    from adapterworks.builders.reviewing.outcome import Outcome
    from adapterworks.builders.reviewing.review import Review
    from adapterworks.builders.reviewing.votes import Votes

_name = click.argument("name")
_reviewer = click.option("--reviewer", help="Who judges: a short name (default: ADAPTERS_USER).")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_confidence = click.option(
    "--confidence",
    type=Real(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
)


@click.group()
def command() -> None:
    """Have people compare two releases blind, and gate aliases by it.

    \b
    Example:
      adapters review start medical@4 medical@3 --rows 50
      adapters review ask medical-4-3 --reviewer ann
      adapters review show medical-4-3
      adapters review close medical-4-3 --why "two coders, 50 rows"
    """


@command.command()
@click.argument("reviewed", shell_complete=complete_ref)
@click.argument("against", shell_complete=complete_ref)
@click.option("--name", type=NAME, help="Of the review; ADAPTER-N-M if not given.")
@click.option("--rows", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "--scale",
    type=click.Choice(["pairwise", "likert"]),
    default="pairwise",
    show_default=True,
    help="Which of two answers is better, or a mark from 1 to 5 for each by itself.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which rows are drawn.")
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

    The answers are those of the releases' own evaluations, so no model is asked. Rows on which both
    say the same are shown to nobody and count as ties.

    \b
    Example:
      adapters review start medical@4 medical@3 --rows 50
      adapters review start medical:candidate medical:prod --scale likert --name spring
    """
    from adapterworks.builders.reviewing.review import draw, write_review

    first, second = (app.registry.resolve(app.look_for(ref)) for ref in (reviewed, against))
    named = name or f"{first.name}-{first.version}-{second.version}"
    review = draw(app.registry, named, first, second, rows=rows, scale=scale, seed=seed)
    write_review(_folder(app), review)
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
    tables = [review_shown.table(review) for review in _reviews(app)]
    if as_json:
        printing.echo_json(tables)
        return
    columns = ("name", "reviewed", "against", "scale", "rows")
    printing.echo_table(columns, [cells(table, columns) for table in tables])


@command.command("next")
@_name
@_reviewer
@_as_json
@click.pass_obj
def next_(app: App, name: str, reviewer: str | None, as_json: bool) -> None:
    """Show what a reviewer is to judge next; not whose answers they are.

    \b
    Example:
      adapters review next medical-4-3 --reviewer ann --json
    """
    from adapterworks.builders.reviewing.votes import Votes

    review = _review(app, name)
    waiting = Votes(_folder(app), review).open(reviewer or app.settings.who)
    if as_json:
        printing.echo_json(
            {"open": len(waiting), "next": review_shown.shown(waiting[0]) if waiting else None}
        )
    elif waiting:
        review_shown.show_ballot(waiting[0], len(waiting))
    else:
        click.echo("all of it is judged")


@command.command()
@_name
@click.argument("ballot")
@click.argument("choice", type=COUNT)
@_reviewer
@_as_json
@click.pass_obj
def vote(
    app: App, name: str, ballot: str, choice: int, reviewer: str | None, as_json: bool
) -> None:
    """Judge one ballot: 1 or 2 for the better answer, 0 for neither; or a mark from 1 to 5.

    \b
    Example:
      adapters review vote medical-4-3 17 2 --reviewer ann
    """
    from adapterworks.builders.reviewing.votes import Votes

    review = _review(app, name)
    cast = Votes(_folder(app), review).cast(reviewer or app.settings.who, ballot, choice)
    if as_json:
        printing.echo_json(
            {"reviewer": cast.reviewer, "ballot": cast.ballot, "choice": cast.choice}
        )
    else:
        click.echo(f"kept: {cast.choice} for {cast.ballot}, by {cast.reviewer}")


@command.command()
@_name
@_reviewer
@click.pass_obj
def ask(app: App, name: str, reviewer: str | None) -> None:
    """Go through what a reviewer has not judged yet, one after the other.

    Type 1 or 2 for the better answer, = for neither, or a mark from 1 to 5; s leaves one for later,
    q ends. What was typed is kept at once; others may judge the same review meanwhile.

    \b
    Example:
      adapters review ask medical-4-3 --reviewer ann
    """
    from adapterworks.builders.reviewing.votes import Votes

    review, who = _review(app, name), reviewer or app.settings.who
    held = Votes(_folder(app), review)
    waiting = held.open(who)
    for at, ballot in enumerate(waiting):
        review_shown.show_ballot(ballot, len(waiting) - at)
        choice = review_shown.typed(ballot)
        if choice == review_shown.ENDS:
            break
        if isinstance(choice, int):
            held.cast(who, ballot.name, choice)
    left = len(held.open(who))
    click.echo(f"{left} left; what is judged: adapters review show {name}")


@command.command()
@_name
@_confidence
@_as_json
@click.pass_obj
def show(app: App, name: str, confidence: float, as_json: bool) -> None:
    """Show what people prefer, how surely, and how far they agree.

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
    rows = [
        {key: review_shown.rounded(getattr(pair, key)) for key in columns} for pair in found.agreed
    ]
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
    """Put the outcome into the log of the release, where an alias's `review` gate reads it.

    The interval is of a number of reviewers and rows that was settled before: a gate takes no
    outcome of reviewers who have not judged every row, and none below 95 % confidence.

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

    held = [Votes(_folder(app), one) for one in _reviews(app) if one.adapter == adapter]
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
                "strength": review_shown.rounded(float(strengths.values[at])),
                "low": review_shown.rounded(low),
                "high": review_shown.rounded(high),
            }
        )
    if as_json:
        printing.echo_json(rows)
        return
    columns = ("release", "strength", "low", "high")
    printing.echo_table(columns, [cells(row, columns) for row in rows])


def _folder(app: App) -> Path:
    return app.settings.home / "reviews"


def _reviews(app: App) -> list[Review]:
    """All that can be read; the others are named."""
    from adapterworks.builders.reviewing.review import reviews

    found, broken = reviews(_folder(app))
    for said in broken:
        printing.note(said)
    return found


def _review(app: App, name: str) -> Review:
    from adapterworks.builders.reviewing.review import read_review

    return read_review(_folder(app), name)


def _outcome(app: App, name: str, confidence: float) -> tuple[Review, Votes, Outcome]:
    from adapterworks.builders.reviewing.outcome import outcome
    from adapterworks.builders.reviewing.votes import Votes

    review = _review(app, name)
    held = Votes(_folder(app), review)
    return review, held, outcome(review, held.all, confidence, looked=held.looked)
