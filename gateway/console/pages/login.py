"""Logging in with a key, and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from starlette.responses import RedirectResponse, Response

from adapterworks.gateway.console.inside import Denied
from adapterworks.gateway.console.page import Page
from adapterworks.gateway.console.visit import (
    DOORS,
    SESSION,
    Visit,
    doors_of,
    form_of,
    page,
    safe_next,
)

_MOST_KEY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Login(Page):
    """The form.

    Attributes:
        next: where it goes on.
        message: why it did not work; empty at first.
        open: whether the gateway lets anybody in.
        issuer: the host of the issuer whose persons may log in; empty without one.
    """

    template: ClassVar[str] = "login.html"
    next: str
    message: str = ""
    open: bool = False
    issuer: str = ""


async def show(visit: Visit) -> Response:
    """`GET /login`; the visitor's cookie is what the form's token belongs to."""
    form = Login(
        next=safe_next(visit.asked("next") or ""),
        open="models" in await doors_of(visit, ""),
        issuer=_issuer(visit),
        commands=("adapters tenant key add NAME",),
    )
    answer = visit.show(form)
    visit.remember(
        answer,
        SESSION,
        visit.console.sessions.cookie(visit.session),
        visit.console.sessions.seconds,
    )
    return answer


async def log_in(visit: Visit) -> Response:
    """`POST /login`."""
    form = await form_of(visit.request)
    key = form.get("key", "").strip()[:_MOST_KEY]
    if not key.isascii() or not key.isprintable():
        key = "?"  # no key has such characters; the API says so in its own words
    doors = await doors_of(visit, key)
    if not doors:
        again = Login(
            next=safe_next(form.get("next", "")),
            message=await _why_not(visit, key),
            issuer=_issuer(visit),
            commands=("adapters tenant key add NAME",),
        )
        return visit.show(again, 401)
    sessions = visit.console.sessions
    sessions.log_out(visit.session)
    answer = RedirectResponse(safe_next(form.get("next", "")), status_code=303)
    visit.remember(answer, SESSION, sessions.cookie(sessions.log_in(key, doors)), sessions.seconds)
    return answer


async def log_out(visit: Visit) -> Response:
    """`POST /logout`."""
    visit.console.sessions.log_out(visit.session)
    answer = visit.go("/login")
    visit.remember(answer, SESSION, "", 0)
    return answer


def _issuer(visit: Visit) -> str:
    door = visit.console.door
    return "" if door is None else door.host


async def _why_not(visit: Visit, key: str) -> str:
    """What the API says of a key that it does not take."""
    try:
        await visit.with_key(key).get(DOORS["models"], limit=1)
    except Denied as denied:
        return denied.message
    return ""


ROUTES = [
    page("/login", show, anybody=True),
    page("/login", log_in, method="POST", anybody=True),
    page("/logout", log_out, method="POST", anybody=True),
]
