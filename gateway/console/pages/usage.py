"""What one has used in the last days, and what one may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, page

_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Page):
    """Sums and limits.

    Attributes:
        days: (day, tokens, requests, height of its bar from 0 to 100), without a gap.
        adapters: sums of each adapter in these days, most tokens first.
        limits: name and bound of each limit that there is.
        month: tokens of this month so far.
    """

    template: ClassVar[str] = "usage.html"
    area: ClassVar[str] = "usage"
    days: tuple[tuple[str, int, int, float], ...]
    adapters: tuple[dict[str, Any], ...]
    limits: tuple[tuple[str, int], ...]
    month: int


async def show(visit: Visit) -> Response:
    """`GET /usage`."""
    today = datetime.now(UTC).date()
    since = today - timedelta(days=_DAYS - 1)
    found = await visit.api.get("/v1/usage", by="day", since=since.isoformat())
    by_ref = await visit.api.get("/v1/usage", by="ref", since=since.isoformat())
    month = await visit.api.get("/v1/usage", by="month", since=today.replace(day=1).isoformat())
    rows = {row["day"]: row for row in found["data"]}
    most = max((row["total_tokens"] for row in rows.values()), default=0) or 1
    days = [(since + timedelta(days=number)).isoformat() for number in range(_DAYS)]
    sums = [(day, rows.get(day, {})) for day in days]
    return visit.show(
        Usage(
            days=tuple(
                (
                    day,
                    row.get("total_tokens", 0),
                    row.get("requests", 0),
                    round(100 * row.get("total_tokens", 0) / most, 2),
                )
                for day, row in sums
            ),
            adapters=tuple(sorted(by_ref["data"], key=lambda row: -row["total_tokens"])),
            limits=tuple(
                (name, bound) for name, bound in found["limits"].items() if bound is not None
            ),
            month=sum(row["total_tokens"] for row in month["data"]),
            commands=(
                command("adapters", "usage", "--by", "day", "--since", since.isoformat()),
                command("adapters", "tenant", "show", "NAME"),
            ),
        )
    )


ROUTES = [page("/usage", show)]
