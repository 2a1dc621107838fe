"""`adapters search`: live versions by words, tag, base and method."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.listing import print_versions
from adapterworks.cli.values import SEQUENCE


@click.command()
@click.argument("words", nargs=-1)
@click.option("--tag", help="Only releases with this tag.")
@click.option("--base", help="Only releases on this base (name or digest).")
@click.option("--method", help="Only releases made with this method.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=SEQUENCE, default=0, help="Next page: the value after `more:`.")
@click.option("--offset", type=SEQUENCE, default=0, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    words: tuple[str, ...],
    tag: str | None,
    base: str | None,
    method: str | None,
    limit: int,
    after: int,
    offset: int,
    as_json: bool,
) -> None:
    """Search releases by name, text, tag, base or method.

    Every word must occur in the name, description, tags, base or method.

    \b
    Example:
      adapters search icd coding
      adapters search --method qlora --base smollm2-135m-instruct --json
    """
    found = app.registry.search(
        " ".join(words), tag=tag, base=base, method=method, limit=limit, offset=after or offset
    )
    if as_json:
        printing.echo_json(found)
    else:
        print_versions(found)
    if len(found) == limit:
        printing.echo_more((after or offset) + limit)
