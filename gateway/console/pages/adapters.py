"""Adapters of the registry: a page of them, by name or by words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import next_page
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, page

_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters(Page):
    """The list.

    Attributes:
        q: words that each name or description has.
        adapters: as `/v1/registry/adapters` has them, by name.
        more: the name after which the next page begins; None if there is none.
    """

    template: ClassVar[str] = "adapters.html"
    area: ClassVar[str] = "adapters"
    q: str
    adapters: tuple[dict[str, Any], ...]
    more: str | None


async def list_adapters(visit: Visit) -> Response:
    """`GET /adapters`."""
    words, after = visit.asked("q"), visit.asked("after")
    found = await visit.api.get("/v1/registry/adapters", q=words, after=after, limit=_PAGE)
    line = ["adapters", "search", *words.split()] if words else ["adapters", "list"]
    if after and not words:
        line += ["--after", after]
    return visit.show(
        Adapters(
            q=words or "",
            adapters=tuple(found["data"]),
            more=next_page(found),
            commands=(command(*line),),
        )
    )


ROUTES = [page("/adapters", list_adapters)]
