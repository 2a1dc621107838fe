"""Logging in as a person of the issuer: to it, and back.

The way back comes from another site, so the session's cookie, which no other site's request
carries, is not with it: a cookie of its own names the question, and a page of ours leads on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from adapterworks.gateway.console.issuers_door import SECONDS, IssuersDoor
from adapterworks.gateway.console.page import Page
from adapterworks.gateway.console.pages.login import Login
from adapterworks.gateway.console.visit import ROOT, SESSION, Visit, doors_of, page, safe_next
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.manifests.errors import Unavailable

QUESTION = "adapters_question"
_BACK = "/login/callback"
_MOST_CODE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Page):
    """What leads on from another site's answer.

    Attributes:
        next: the page of the console that was asked for.
    """

    template: ClassVar[str] = "welcome.html"
    next: str


async def ask(visit: Visit) -> Response:
    """`GET /login/issuer`: to the issuer."""
    door = _door(visit)
    scheme = "https" if visit.is_https else visit.request.url.scheme
    back = f"{scheme}://{visit.request.url.netloc}{ROOT}{_BACK}"
    try:
        next_page = safe_next(visit.asked("next") or "")
        asked, address = await door.aside(partial(door.begin, back, next_page))
    except Unavailable:
        return _again(visit, visit.words("login.away"), 503)
    answer = RedirectResponse(address, status_code=303)
    answer.set_cookie(
        QUESTION,
        asked.state,
        max_age=int(SECONDS),
        path=ROOT + _BACK,
        httponly=True,
        samesite="lax",
        secure=visit.is_https,
    )
    return answer


async def answered(visit: Visit) -> Response:
    """`GET /login/callback`: back from it."""
    door, request = _door(visit), visit.request
    asked = door.question(request.cookies.get(QUESTION), visit.asked("state") or "")
    code = request.query_params.get("code", "")[:_MOST_CODE]
    if asked is None:
        return _again(visit, visit.words("login.unfinished"), 400)
    if not code:
        why = visit.asked("error_description") or visit.asked("error") or "?"
        return _again(visit, visit.words("login.refused", why=why), 403)
    try:
        token, person = await door.aside(partial(door.answered, asked, code))
    except Unavailable:
        return _again(visit, visit.words("login.away"), 503)
    except Unauthorized:
        return _again(visit, visit.words("login.unfinished"), 401)
    doors = await doors_of(visit, token)
    if not doors:
        return _again(visit, visit.words("login.no_door"), 403)
    sessions = visit.console.sessions
    answer = visit.show(Welcome(next=asked.next))
    session = sessions.log_in(token, doors, person)
    # The issuer's page sent it, which says nothing of how; the address that it was given does.
    secure = asked.back.startswith("https:")
    visit.remember(answer, SESSION, sessions.cookie(session), sessions.seconds, secure=secure)
    answer.delete_cookie(QUESTION, path=ROOT + _BACK)
    return answer


def _door(visit: Visit) -> IssuersDoor:
    if visit.console.door is None:
        raise HTTPException(404)
    return visit.console.door


def _again(visit: Visit, message: str, status: int) -> Response:
    door = _door(visit)
    form = Login(
        next=ROOT + "/",
        message=message,
        issuer=door.host,
        commands=("adapters tenant key add NAME",),
    )
    answer = visit.show(form, status)
    sessions = visit.console.sessions
    visit.remember(answer, SESSION, sessions.cookie(visit.session), sessions.seconds)
    return answer


ROUTES = [
    page("/login/issuer", ask, anybody=True),
    page(_BACK, answered, anybody=True),
]
