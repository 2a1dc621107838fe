"""`adapters log`: the append-only history of a name, a version or an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.values import SEQUENCE

if TYPE_CHECKING:
    from adapterworks.registry.releases.types import Event

# Said by the event's own time.
_TIMES = ("published", "deleted")


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=SEQUENCE, help="Next page: the value after `more:`.")
@click.option("--before", type=SEQUENCE, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App, ref: str, limit: int, after: int | None, before: int | None, as_json: bool
) -> None:
    """Show the history of an alias or a name.

    Newest first: who, when and why.

    \b
    Example:
      adapters log medical
      adapters log medical:prod --json
      adapters log medical@3
    """
    from adapterworks.manifests.refs import check_name

    if ":" in ref or "@" in ref:
        parsed = app.ref(ref)
        name, alias, version = parsed.name, parsed.alias, parsed.version
        if parsed.digest is not None:
            version = app.registry.resolve(parsed).version
    else:
        name, alias, version = check_name(ref), None, None
    events = app.registry.log.events(
        name, alias=alias, version=version, limit=limit, before=after or before
    )
    if as_json:
        printing.echo_json(events)
    else:
        printing.echo_table(
            ("#", "when", "who", "what", "why"),
            (
                (event.sequence, printing.when(event.at), event.who, describe(event), event.why)
                for event in events
            ),
        )
    if len(events) == limit:
        printing.echo_more(events[-1].sequence)


def describe(event: Event) -> str:
    """What happened, in one line."""
    subject = event.name if event.version is None else f"{event.name}@{event.version}"
    if event.alias is None:
        told = {key: value for key, value in event.data.items() if value and key not in _TIMES}
        detail = " ".join(f"{key}={value}" for key, value in told.items())
        return f"{event.kind} {subject} {detail}".rstrip()
    if event.kind == "retire":
        return f"retire {event.alias} (was {subject})"
    previous, canary = event.data.get("previous"), event.data.get("canary")
    if event.kind == "canary":
        return f"canary {event.alias}: {event.name}@{canary} at {event.data['weight']} %"
    came = "" if previous in (None, event.version) else f" (was {event.name}@{previous})"
    return f"{event.kind} {event.alias} → {subject}{came}"
