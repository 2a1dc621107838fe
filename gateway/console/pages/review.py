"""The review queue: one kept answer after the other, or two without whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import part
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, form_of, page
from adapterworks.manifests.digests import short_digest

_REVIEWS = "/v1/reviews"
_LONGEST = 10  # digits of a choice


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPage(Page):
    """What is to be judged next, and what it has come to.

    Attributes:
        reviewer: who judges; empty before that is said.
        adapter: answers of this adapter only; empty for all.
        ballot: as `/v1/reviews` has it; None before a reviewer is named.
        outcome: as `/v1/reviews` has it.
    """

    template: ClassVar[str] = "review.html"
    area: ClassVar[str] = "review"
    reviewer: str
    adapter: str
    ballot: dict[str, Any] | None
    outcome: tuple[dict[str, Any], ...]


async def show(visit: Visit) -> Response:
    """`GET /review`: the outcome, and a form that asks who judges."""
    reviewer, adapter = visit.asked("reviewer") or "", visit.asked("adapter") or ""
    return visit.show(await _page(visit, reviewer, adapter, None))


async def following(visit: Visit) -> Response:
    """`POST /review`: what this reviewer is to judge next."""
    form = await form_of(visit.request)
    return visit.show(await _next(visit, form.get("reviewer", ""), form.get("adapter", "")))


async def judge(visit: Visit) -> Response:
    """`POST /review/{ballot}`: keep a judgement, and show the next."""
    form = await form_of(visit.request)
    choice = form.get("choice", "")
    values: dict[str, Any] = {
        "reviewer": form.get("reviewer", ""),
        "choice": int(choice) if choice.isdecimal() and len(choice) < _LONGEST else -1,
    }
    if form.get("correction", "").strip():
        values["correction"] = form["correction"].strip()
    await visit.api.post(f"{_REVIEWS}/{part(visit.request.path_params['ballot'])}", values)
    return visit.show(await _next(visit, values["reviewer"], form.get("adapter", "")))


async def _next(visit: Visit, reviewer: str, adapter: str) -> ReviewPage:
    asked = {"reviewer": reviewer.strip()} | ({"adapter": adapter.strip()} if adapter else {})
    ballot = await visit.api.post(_REVIEWS, asked)
    return await _page(visit, reviewer.strip(), adapter.strip(), ballot)


async def _page(
    visit: Visit, reviewer: str, adapter: str, ballot: dict[str, Any] | None
) -> ReviewPage:
    found = await visit.api.get(_REVIEWS, adapter=adapter or None)
    rows = (
        {
            **row,
            "release": short_digest(row["release"]),
            "against": short_digest(row["against"]),
        }
        for row in found["data"]
    )
    lines = [command("adapters", "feedback", "agreement", "--on", "thumb")]
    name = adapter or "ADAPTER"
    lines.append(command("adapters", "feedback", "preferences", "--adapter", name))
    lines.append(command("adapters", "data", "from-failures", name, "--from", "capture"))
    return ReviewPage(
        reviewer=reviewer,
        adapter=adapter,
        ballot=ballot,
        outcome=tuple(rows),
        commands=tuple(lines),
    )


ROUTES = [
    page("/review", show),
    page("/review", following, method="POST"),
    page("/review/{ballot}", judge, method="POST"),
]
