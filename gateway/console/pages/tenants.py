"""All tenants for an administrator: what each may, and has used of it this month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import next_page
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, page

_PAGE = 50
_LIMITS = ("rpm", "tpm", "max_concurrency", "monthly_tokens")


@dataclass(frozen=True, slots=True)
class Row:
    """One tenant.

    Attributes:
        limits: name and bound of each limit that there is.
        bound: tokens that it may use in a month; 0 without a limit.
    """

    name: str
    allow: tuple[str, ...]
    weight: float
    limits: tuple[tuple[str, int], ...]
    requests: int
    tokens: int
    bound: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants(Page):
    """The list.

    Attributes:
        tenants: by name, with what each has used.
        most: tokens of the one that has used most, of all tenants; at least 1.
        since: the first day that is counted.
        more: the name after which the next page begins; None if there is none.
    """

    template: ClassVar[str] = "tenants.html"
    area: ClassVar[str] = "tenants"
    tenants: tuple[Row, ...]
    most: int
    since: str
    more: str | None


async def show(visit: Visit) -> Response:
    """`GET /tenants`."""
    since = datetime.now(UTC).date().replace(day=1).isoformat()
    found = await visit.api.get("/v1/registry/tenants", limit=_PAGE, after=visit.asked("after"))
    used = await visit.api.get("/v1/registry/usage", by="tenant", since=since)
    by_name = {row["tenant"]: row for row in used["data"]}
    return visit.show(
        Tenants(
            tenants=tuple(_row(one, by_name.get(one["name"], {})) for one in found["data"]),
            most=max((row["total_tokens"] for row in by_name.values()), default=0) or 1,
            since=since,
            more=next_page(found),
            commands=(
                command("adapters", "usage", "--by", "tenant", "--since", since),
                command("adapters", "tenant", "list"),
                command("adapters", "tenant", "set", "NAME", "--monthly-tokens", "50M"),
            ),
        )
    )


def _row(one: dict[str, Any], used: dict[str, Any]) -> Row:
    return Row(
        name=one["name"],
        allow=tuple(one["allow"]),
        weight=one["weight"],
        limits=tuple((name, one[name]) for name in _LIMITS if one[name] is not None),
        requests=used.get("requests", 0),
        tokens=used.get("total_tokens", 0),
        bound=one["monthly_tokens"] or 0,
    )


ROUTES = [page("/tenants", show)]
