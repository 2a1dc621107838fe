"""What `adapters review` shows of a review and of its ballots, and what is typed at one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.builders.reviewing.ballots import Ballot
    from adapterworks.builders.reviewing.outcome import Outcome
    from adapterworks.builders.reviewing.review import Review

_TIES, SKIPS, ENDS = ("=", "0"), "s", "q"


def line(review: Review, found: Outcome) -> str:
    """What it comes to, in one line."""
    count = len(found.reviewers)
    return (
        f"{review.reviewed.ref} is preferred to {review.against.ref} {found.preferred:.1%} "
        f"[{found.low:.1%}, {found.high:.1%}] of the time, by {count} "
        f"{'reviewer' if count == 1 else 'reviewers'} on {found.rows} rows, {found.same} of them "
        "answered alike"
    )


def table(review: Review) -> dict[str, Any]:
    """A review, as JSON has it."""
    return {
        "name": review.name,
        "digest": review.digest,
        "reviewed": review.reviewed.ref,
        "against": review.against.ref,
        "scale": review.scale,
        "rows": len(review.items),
    }


def shown(ballot: Ballot) -> dict[str, Any]:
    """A ballot, as JSON has it: nothing of whose answers they are."""
    return {
        "ballot": ballot.name,
        "prompt": ballot.item.prompt,
        "answers": ballot.answers,
        "choices": ballot.choices,
    }


def show_ballot(ballot: Ballot, left: int) -> None:
    """Print a ballot."""
    click.echo(f"\n── {ballot.name}, {left} left")
    for turn in ballot.item.prompt:
        click.echo(f"{turn['role']}: {printing.harmless(turn['content'])}")
    for place, answer in enumerate(ballot.answers, start=1):
        mark = f"[{place}] " if len(ballot.answers) > 1 else "→ "
        click.echo(f"\n{mark}{printing.harmless(answer)}")


def typed(ballot: Ballot) -> int | str:
    """A choice, `s` or `q`; asked again until it is one."""
    tie = "/=" if len(ballot.answers) > 1 else ""
    choices = "/".join(str(choice) for choice in ballot.choices if choice)
    while True:
        click.echo(f"{choices}{tie}/s/q: ", nl=False, err=True)
        line = sys.stdin.readline() if sys.stdin is not None else ""
        said = (line or ENDS).strip().lower()
        if said in (SKIPS, ENDS):
            return said
        if said in _TIES and tie:
            return 0
        if said.isdecimal() and int(said) in ballot.choices:
            return int(said)
