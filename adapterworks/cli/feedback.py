"""`adapters feedback`: what people said of answers, and how far they agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.tenant_shown import admin, cells
from adapterworks.cli.values import SEQUENCE
from adapterworks.manifests.digests import short_digest

if TYPE_CHECKING:
    from adapterworks.gateway.capture.judgements import Judgements
    from adapterworks.gateway.capture.over_http import JudgementsOverHttp
    from adapterworks.gateway.tenants.tenant import Tenant
    from adapterworks.registry.exchanges.exchange import Exchange, Feedback

_COLUMNS = ("at", "tenant", "adapter", "receipt", "reviewer", "thumb", "score", "label", "texts")
_tenant = click.option("--tenant", help="Only answers to this tenant.")
_adapter = click.option("--adapter", help="Only answers of this adapter.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Show, add and export feedback on answers.

    Clients send it to `POST /v1/feedback`, by the receipt of an answer.

    \b
    Example:
      adapters feedback list --adapter medical
      adapters feedback agreement --on thumb
      adapters feedback preferences --adapter medical
      adapters feedback export --adapter medical > reviewed.jsonl
    """


@command.command("list")
@_tenant
@_adapter
@click.option("--release", help="Only answers of this release, e.g. `medical@7`.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=SEQUENCE, help="Next page: the value after `more:`.")
@_as_json
@click.pass_obj
def list_(
    app: App,
    tenant: str | None,
    adapter: str | None,
    release: str | None,
    limit: int,
    after: int | None,
    as_json: bool,
) -> None:
    """List feedback, newest first; its texts only in JSON.

    \b
    Example:
      adapters feedback list --adapter medical --limit 10
    """
    names = _names(app)
    digest = None if release is None else app.registry.resolve(app.ref(release)).digest
    rows = list(
        _judgements(app).listed(
            tenant=_id(app, tenant),
            adapter=adapter,
            release=digest,
            limit=limit,
            before=after,
        )
    )
    if as_json:
        printing.echo_json([_json(said, names) for _, said in rows])
    else:
        table = [cells({**_json(said, names), "texts": _texts(said)}, _COLUMNS) for _, said in rows]
        printing.echo_table(_COLUMNS, table)
    if len(rows) == limit:
        printing.echo_more(rows[-1][0])


@command.command()
@click.argument("answer")
@click.option("--tenant", required=True, help="The tenant that got the answer.")
@click.option("--thumb", type=click.Choice(["up", "down"]))
@click.option("--score", type=float, help="From 0 to 1.")
@click.option("--label", help="One word.")
@click.option("--correction", help="What the answer should have been.")
@click.option("--comment", help="A remark.")
@click.option("--reviewer", help="The reviewer's short name (default: ADAPTERS_USER).")
@click.option("--once", help="Idempotency key: the same feedback sent twice counts once.")
@_as_json
@click.pass_obj
def add(app: App, /, answer: str, tenant: str, as_json: bool, **given: Any) -> None:
    """Give feedback on an answer, by its receipt or completion id.

    \b
    Example:
      adapters feedback add req-0123456789abcdef01234567 --tenant acme --thumb down \\
        --correction "A06.0" --reviewer ann
    """
    from pydantic import ValidationError

    from adapterworks.gateway.capture.asked import AskedFeedback
    from adapterworks.manifests.errors import InvalidInput

    given["idempotency_key"] = given.pop("once")
    given["reviewer"] = given["reviewer"] or app.settings.who
    try:
        asked = AskedFeedback(id=answer, **given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]).replace("idempotency_key", "once")
        raise InvalidInput(f"`--{name}` cannot be that: {fault['msg']}") from error
    said, created = _judgements(app).add(tenant, asked)
    if as_json:
        printing.echo_json(_json(said, _names(app)))
    else:
        click.echo(f"{'kept' if created else 'known already'}: {said.id}, of {said.receipt}")


@command.command()
@_tenant
@_adapter
@click.option(
    "--share", type=click.Choice(["none", "own", "all"]), help="Only answers with this consent."
)
@click.pass_obj
def export(app: App, tenant: str | None, adapter: str | None, share: str | None) -> None:
    """Print captured answers that have feedback, one JSON object per line.

    Each line has `messages`, the `answer`, the receipt's digests and all `feedback`; `share` is the
    stricter of what its tenant let be learnt when it asked and what it lets be learnt now. Answers
    that were not captured have no texts: `adapters feedback list --json` has what was said of them.

    \b
    Example:
      adapters feedback export --adapter medical > reviewed.jsonl
    """
    tenants = {one.id: one for one in admin(app).list()}
    for item in _judgements(app).exchanges(tenant=_id(app, tenant), adapter=adapter):
        line = _exported(item, tenants.get(item.tenant))
        if share in (None, line["share"]):
            click.echo(json.dumps(line, ensure_ascii=False))


@command.command()
@_tenant
@_adapter
@click.option(
    "--on",
    "aspect",
    type=click.Choice(["thumb", "label", "score"]),
    default="thumb",
    show_default=True,
    help="What is compared.",
)
@_as_json
@click.pass_obj
def agreement(
    app: App, tenant: str | None, adapter: str | None, aspect: Any, as_json: bool
) -> None:
    """Show how far reviewers agree on answers that both have judged (Cohen's kappa).

    1 is full agreement, 0 is chance level; nearby scores count as partial agreement.

    \b
    Example:
      adapters feedback agreement --adapter medical --on label
    """
    from adapterworks.registry.exchanges import agreement as agreeing

    listed = _judgements(app).listed(tenant=_id(app, tenant), adapter=adapter)
    said = (item for _, item in listed)
    found = agreeing.agreement(said, aspect)
    columns = ("first", "second", "answers", "same", "kappa", "low", "high")
    rows: list[dict[str, Any]] = [
        {name: printing.rounded(getattr(pair, name)) for name in columns} for pair in found
    ]
    if as_json:
        printing.echo_json([{"on": aspect, **row} for row in rows])
        return
    printing.echo_table(columns, [cells(row, columns) for row in rows])
    if not rows:
        printing.note("no two reviewers have judged the same answer")


def _judgements(app: App) -> Judgements | JudgementsOverHttp:
    """The feedback of this registry, or of that of the server that is used."""
    from adapterworks.gateway.capture.judgements import Judgements
    from adapterworks.gateway.capture.over_http import JudgementsOverHttp
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return JudgementsOverHttp(registry.link)
    return Judgements(app.exchanges)


@command.command()
@_tenant
@_adapter
@_as_json
@click.pass_obj
def preferences(app: App, tenant: str | None, adapter: str | None, as_json: bool) -> None:
    """Show which release reviewers prefer on the same requests, and how far they agree.

    Requests are judged in the console's review queue, blind, by two reviewers each. For the
    interval, each request counts once, however many people judged it.

    \b
    Example:
      adapters feedback preferences --adapter medical
    """
    from adapterworks.builders.reviewing.queue import outcomes
    from adapterworks.registry.exchanges import reviews

    judged = reviews.judged(app.exchanges, tenant=_id(app, tenant), adapter=adapter)
    found = outcomes(judged)
    if as_json:
        printing.echo_json(found)
        return
    columns = (
        *("release", "against", "answers", "better", "worse", "neither"),
        *("preferred", "low", "high", "first_shown", "alpha"),
    )
    rows = []
    for one in found:
        row = {name: printing.rounded(one[name]) for name in columns}
        rows.append(row | {name: short_digest(str(row[name])) for name in ("release", "against")})
    printing.echo_table(columns, [cells(row, columns) for row in rows])
    if not rows:
        printing.note("nobody has judged an answer yet: /console/review, or POST /v1/reviews")


def _id(app: App, tenant: str | None) -> str | None:
    return None if tenant is None else admin(app).show(tenant)[0].id


def _names(app: App) -> dict[str, str]:
    return {tenant.id: tenant.name for tenant in admin(app).list()}


def _texts(said: Feedback) -> str:
    found = [name for name in ("correction", "comment") if getattr(said, name) is not None]
    return ", ".join(found) or "-"


def _json(said: Feedback, names: dict[str, str]) -> dict[str, Any]:
    return {
        "id": said.id,
        "at": printing.moment(said.created),
        "tenant": names.get(said.tenant, said.tenant),
        "adapter": said.adapter,
        "release": said.release,
        "receipt": said.receipt,
        **said.said(),
    }


def _exported(item: Exchange, owner: Tenant | None) -> dict[str, Any]:
    """A line; of a tenant that is not there any more nobody may learn."""
    from adapterworks.registry.exchanges.exchange import strictest

    name = item.tenant if owner is None else owner.name
    now = "none" if owner is None else owner.shares(item.adapter)
    return {
        "id": item.id,
        "receipt": item.receipt,
        "tenant": name,
        "share": strictest(item.share, now),
        "adapter": item.adapter,
        "release": item.release or None,
        "base": item.base,
        "template": item.template or None,
        "created": printing.moment(item.created),
        "messages": item.messages,
        "answer": item.text,
        "redacted": list(item.redacted),
        "feedback": [_json(said, {item.tenant: name}) for said in item.feedback],
    }
