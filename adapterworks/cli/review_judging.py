"""What a reviewer does: see what is to be judged, and judge it; never whose answers they are."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing, review_shown
from adapterworks.cli.review_files import folder_of, review_of
from adapterworks.cli.values import COUNT

_name = click.argument("name")
_reviewer = click.option("--reviewer", help="The reviewer's short name (default: ADAPTERS_USER).")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("next")
@_name
@_reviewer
@_as_json
@click.pass_obj
def next_(app: App, name: str, reviewer: str | None, as_json: bool) -> None:
    """Show a reviewer's next ballot, without saying whose answers they are.

    \b
    Example:
      adapters review next medical-4-3 --reviewer ann --json
    """
    from adapterworks.builders.reviewing.votes import Votes

    review = review_of(app, name)
    waiting = Votes(folder_of(app), review).open(reviewer or app.settings.who)
    if as_json:
        printing.echo_json(
            {"open": len(waiting), "next": review_shown.shown(waiting[0]) if waiting else None}
        )
    elif waiting:
        review_shown.show_ballot(waiting[0], len(waiting))
    else:
        click.echo("all of it is judged")


@click.command()
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

    review = review_of(app, name)
    cast = Votes(folder_of(app), review).cast(reviewer or app.settings.who, ballot, choice)
    if as_json:
        printing.echo_json(
            {"reviewer": cast.reviewer, "ballot": cast.ballot, "choice": cast.choice}
        )
    else:
        click.echo(f"kept: {cast.choice} for {cast.ballot}, by {cast.reviewer}")


@click.command()
@_name
@_reviewer
@click.pass_obj
def ask(app: App, name: str, reviewer: str | None) -> None:
    """Go through the ballots that a reviewer has not judged yet.

    Type 1 or 2 for the better answer, = for neither, or a mark from 1 to 5; s leaves one for later,
    q ends. Each answer is saved at once; others may judge the same review at the same time.

    \b
    Example:
      adapters review ask medical-4-3 --reviewer ann
    """
    from adapterworks.builders.reviewing.votes import Votes

    review, who = review_of(app, name), reviewer or app.settings.who
    held = Votes(folder_of(app), review)
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
