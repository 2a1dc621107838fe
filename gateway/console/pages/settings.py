"""Language and colours, kept in cookies."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from adapterworks.gateway.console import words
from adapterworks.gateway.console.visit import THEME, THEMES, Visit, form_of, page, safe_next

_YEAR_S = 365 * 86400


async def change(visit: Visit) -> Response:
    """`POST /settings`: what the form names, and nothing else."""
    form = await form_of(visit.request)
    answer = RedirectResponse(safe_next(form.get("next", "")), status_code=303)
    if form.get("lang") in words.LANGUAGES:
        visit.remember(answer, words.COOKIE, form["lang"], _YEAR_S)
    if form.get("theme") in THEMES:
        visit.remember(answer, THEME, form["theme"], _YEAR_S)
    return answer


ROUTES = [page("/settings", change, method="POST", anybody=True)]
