"""What runs: engines, what they hold, and what has been proved of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.page import Page
from adapterworks.gateway.console.visit import Visit, page


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(Page):
    """The first page.

    Attributes:
        ready: whether the gateway can answer now.
        reason: why not.
        engines: as `/v1/engines` has them.
    """

    template: ClassVar[str] = "overview.html"
    area: ClassVar[str] = "overview"
    ready: bool
    reason: str
    engines: tuple[dict[str, Any], ...]


async def overview(visit: Visit) -> Response:
    """`GET /`."""
    if "models" not in visit.session.doors:
        return visit.go("/adapters")
    engines = await visit.api.get("/v1/engines")
    state = (await visit.api.ask("GET", "/ready")).values
    return visit.show(
        Overview(
            ready=state.get("status") == "ready",
            reason=str(state.get("reason", "")),
            engines=tuple(engines["data"]),
            commands=("adapters ps",),
        )
    )


ROUTES = [page("/", overview)]
