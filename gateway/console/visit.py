"""One request to a page: whose session it is, and the way to the API that goes with it.

Invariant: there is one way to a handler, `page`: nobody gets there who has not logged in, and
nothing that changes anything without a form of this session, sent by a page of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from adapterworks.gateway.console.guard import is_own
from adapterworks.gateway.console.inside import Denied, Inside, Through
from adapterworks.gateway.console.issuers_door import IssuersDoor
from adapterworks.gateway.console.page import Page, Shell, Templates, other_language
from adapterworks.gateway.console.sessions import Session, Sessions
from adapterworks.gateway.console.words import LANGUAGES, Words, language_of
from adapterworks.gateway.tenants.keys import key_id_of

ROOT = "/console"
SESSION = "adapters_session"
THEME = "adapters_theme"
THEMES = ("auto", "light", "dark")
_MOST_FIELDS = 50
# What a key may open: the first path that its pages ask, and those pages.
DOORS = {
    "models": "/v1/models",
    "registry": "/v1/registry/me",
    "tenants": "/v1/registry/tenants",  # administrators'
}
_AREAS = {
    "overview": ("", "models"),
    "files": ("files", "models"),
    "jobs": ("jobs", "models"),
    "playground": ("playground", "models"),
    "review": ("review", "models"),
    "adapters": ("adapters", "registry"),
    "usage": ("usage", "models"),
    "tenants": ("tenants", "tenants"),
    "builds": ("builds", "tenants"),
}
_MOST_FIELD = 256 * 1024


@dataclass(frozen=True, slots=True)
class Console:
    """What all pages share: the API's application, sessions, templates, and who may log in by an
    issuer."""

    api: ASGIApp
    sessions: Sessions
    templates: Templates
    door: IssuersDoor | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, and who sent it."""

    request: Request
    session: Session
    console: Console

    @property
    def words(self) -> Words:
        """The texts in the reader's language."""
        return Words(language_of(self.request))

    @property
    def api(self) -> Inside:
        """The public API with the session's key."""
        return self.with_key(self.session.key or "")

    def with_key(self, key: str) -> Inside:
        """The public API with another one."""
        client = self.request.client
        return Inside(self.console.api, key, None if client is None else (client.host, client.port))

    def asked(self, name: str) -> str | None:
        """A parameter of the address; None if it is empty or not there."""
        return self.request.query_params.get(name, "")[:2000] or None

    def show(self, page: Page, status: int = 200) -> Response:
        """The page."""
        words = self.words
        theme = self.request.cookies.get(THEME, "auto")
        key = self.session.key
        # What a form has led to cannot be asked for again: its area can, and without its token.
        path, query = self.request.url.path, self.request.url.query
        if self.request.method != "GET":
            path, query = f"{ROOT}/{_AREAS[page.area][0] if page.area else ''}", ""
        shell = Shell(
            lang=LANGUAGES[words.language][0],
            other=other_language(words.language),
            areas=tuple(
                (name, path) for name, (path, door) in _AREAS.items() if door in self.session.doors
            ),
            theme=theme if theme in THEMES else "auto",
            who=None if key is None else key_id_of(key) or self.session.who,
            token=self.console.sessions.token(self.session),
            here=path + (f"?{query}" if query else ""),
        )
        return HTMLResponse(self.console.templates.render(page, shell, words), status_code=status)

    def go(self, path: str, **query: str) -> Response:
        """To another page of the console, asked for by GET."""
        return RedirectResponse(
            ROOT + path + ("?" + urlencode(query) if query else ""), status_code=303
        )

    def remember(
        self, answer: Response, name: str, value: str, seconds: float, *, secure: bool = False
    ) -> None:
        """Set a cookie that no script reads and no other site's request carries.

        Args:
            secure: only by TLS, also where this request does not say that it came so.
        """
        answer.set_cookie(
            name,
            value,
            max_age=int(seconds),
            path=ROOT,
            httponly=True,
            samesite="strict",
            secure=secure or self.is_https,
        )

    @property
    def is_https(self) -> bool:
        """Whether the browser came by TLS, here or at a proxy in front.

        A proxy's is known by a page of our own that sent it here: a form says its origin, a link
        its page.
        """
        headers = self.request.headers
        own = headers.get("sec-fetch-site") == "same-origin"
        pages = [urlsplit(headers.get(name, "")) for name in ("origin", "referer")]
        return self.request.url.scheme == "https" or any(
            page.scheme == "https" and (own or page.netloc == headers.get("host")) for page in pages
        )


Answering = Response | Through
Handler = Callable[[Visit], Awaitable[Answering]]


def page(path: str, handler: Handler, *, method: str = "GET", anybody: bool = False) -> Route:
    """The route of a handler.

    Args:
        anybody: also before one has logged in.
    """

    @functools.wraps(handler)
    async def answer(request: Request) -> Answering:
        visit = visit_of(request)
        if visit.session.key is None and not anybody:
            return to_login(visit)
        if method != "GET":
            await require_own_form(visit)
        try:
            return await handler(visit)
        except Denied as denied:
            if denied.status != 401 or anybody or await doors_of(visit, visit.session.key or ""):
                raise
            visit.console.sessions.log_out(visit.session)
            return to_login(visit)

    return Route(path, answer, methods=[method])


def visit_of(request: Request) -> Visit:
    """The visit of a request; a new visitor's, if its cookie is none of ours."""
    console: Console = request.app.state.console
    session = console.sessions.find(request.cookies.get(SESSION)) or console.sessions.visitor()
    return Visit(request, session, console)


async def doors_of(visit: Visit, key: str) -> frozenset[str]:
    """The parts of the API that take a key."""
    api = visit.with_key(key)
    answers = {name: await api.ask("GET", path, query={"limit": 1}) for name, path in DOORS.items()}
    return frozenset(name for name, answer in answers.items() if answer.status == 200)


def to_login(visit: Visit) -> Response:
    """To the form, and back to where it was; what was to be changed is not."""
    if visit.request.method != "GET":
        return visit.go("/login")
    path = visit.request.url.path
    query = visit.request.url.query
    return visit.go("/login", next=path + (f"?{query}" if query else ""))


async def require_own_form(visit: Visit) -> None:
    """Refuse what another site's page has sent, or a form that we did not give to this session.

    The token is in the form, in a header (scripts), or in the address (where the form's body is
    handed on unread).

    Raises:
        HTTPException: 403.
    """
    request = visit.request
    token = request.headers.get("x-form-token") or request.query_params.get("form")
    if token is None and "urlencoded" in request.headers.get("content-type", ""):
        token = (await form_of(request)).get("form")
    if not is_own(request) or not visit.console.sessions.is_token(visit.session, token or ""):
        raise HTTPException(403)


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form, within bounds; read once."""
    try:
        form: FormData = await request.form(max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD)
    except ClientDisconnect as error:  # nobody reads the answer
        raise HTTPException(400) from error
    return {name: value for name, value in form.items() if isinstance(value, str)}


def safe_next(text: str) -> str:
    """Where to go after a form: a page of the console, whatever was written."""
    parts = urlsplit(text[:2000])
    own = parts.path == ROOT or parts.path.startswith(ROOT + "/")
    if parts.scheme or parts.netloc or not own or "\\" in text or not text.isprintable():
        return ROOT + "/"
    return parts._replace(fragment="").geturl()
