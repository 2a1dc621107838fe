"""One adapter: its versions and aliases, and moving an alias after one has looked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import Denied, next_page, part
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, form_of, page

_ADAPTERS = "/v1/registry/adapters"
_PAGE = 50
_MOVES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterPage(Page):
    """An adapter.

    Attributes:
        adapter: as `/v1/registry/adapters/{name}` has it.
        aliases: with who holds them.
        versions: newest first.
        more: the id after which the older ones begin; None if there are none.
        log: what happened to it last, newest first.
    """

    template: ClassVar[str] = "adapter.html"
    area: ClassVar[str] = "adapters"
    adapter: dict[str, Any]
    aliases: tuple[dict[str, Any], ...]
    versions: tuple[dict[str, Any], ...]
    more: str | None
    log: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Page):
    """What is about to be done to an alias, before it is done.

    Attributes:
        name, alias: which.
        back: whether it goes back, instead of to `version`.
        version: where it goes; empty if it goes back.
        holder: who holds it now, and so what is expected; None: nobody.
        canary: who is tried beside the holder; None: nobody.
        why: the reason that was written.
        percent: of the requests.
        denied: why it did not move.
    """

    template: ClassVar[str] = "move.html"
    area: ClassVar[str] = "adapters"
    name: str
    alias: str
    back: bool
    version: str
    holder: int | None
    canary: int | None
    why: str = ""
    percent: str = "100"
    denied: Denied | None = None


def _path(name: str) -> str:
    return f"{_ADAPTERS}/{part(name)}"


async def show(visit: Visit) -> Response:
    """`GET /adapters/{name}`."""
    path = _path(visit.request.path_params["name"])
    adapter, aliases, versions, log = await asyncio.gather(
        visit.api.get(path),
        visit.api.get(f"{path}/aliases"),
        visit.api.get(f"{path}/versions", limit=_PAGE, after=visit.asked("after")),
        visit.api.get(f"{path}/log", limit=_MOVES),
    )
    name = adapter["name"]
    return visit.show(
        AdapterPage(
            adapter=adapter,
            aliases=tuple(aliases["data"]),
            versions=tuple(versions["data"]),
            more=next_page(versions),
            log=tuple(log["data"]),
            commands=(command("adapters", "list", name), command("adapters", "log", name)),
        )
    )


async def ask(visit: Visit) -> Response:
    """`GET /adapters/{name}/move`: what would be done; nothing is."""
    query = visit.request.query_params
    return visit.show(await _about_to(visit, {**query}))


async def _about_to(visit: Visit, said: Mapping[str, str], denied: Denied | None = None) -> Move:
    name = part(visit.request.path_params["name"])
    found = await visit.api.get(f"{_path(name)}/aliases")
    alias = said.get("alias", "")[:64]
    held: list[dict[str, Any]] = next(
        (a["holders"] for a in found["data"] if a["alias"] == alias), []
    )
    holder = int(held[0]["version"]) if held else None
    canary = int(held[1]["version"]) if len(held) > 1 else None
    back, version = said.get("back") == "yes", said.get("version", "")[:12]
    why, percent = said.get("why", "")[:2000], said.get("percent", "100")[:3]
    if back:
        line = ["adapters", "rollback", f"{name}:{alias}"]
        line += ["--expect", f"{name}@{canary or holder}"]
    else:
        line = ["adapters", "promote", f"{name}@{version}", alias]
        line += ["--expect", f"{name}@{holder}" if holder else "none"]
        line += ["--percent", percent] if percent != "100" else []
    line += ["--why", why] if why else []
    return Move(
        name=name,
        alias=alias,
        back=back,
        version=version,
        holder=holder,
        canary=canary,
        why=why,
        percent=percent,
        denied=denied,
        commands=(command(*line),),
    )


async def move(visit: Visit) -> Response:
    """`POST /adapters/{name}/move`: by compare-and-set against what the page showed."""
    form = await form_of(visit.request)
    name, alias = part(visit.request.path_params["name"]), part(form.get("alias", ""))
    path = f"{_path(name)}/aliases/{alias}"
    expect = _number(form.get("expect", ""))
    why = {"why": form.get("why", "")}
    try:
        if form.get("back") == "yes":
            await visit.api.post(f"{path}/rollback", {**why, "expect": expect})
        else:
            to = {"version": _number(form.get("version", "")), "expect": expect}
            percent = {"percent": _number(form.get("percent", "100"))}
            asks = form.get("ask") == "yes"
            await visit.api.post(f"{path}/requests" if asks else path, {**to, **percent, **why})
            if asks:
                return visit.go("/requests")
    except Denied as denied:
        if denied.status == 401:
            raise
        return visit.show(await _about_to(visit, form, denied), denied.status)
    return visit.go(f"/adapters/{name}")


def _number(text: str) -> int | str | None:
    """A number, nothing, or the text as it is: the API says what is wrong with it."""
    if text in ("", "none"):
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


ROUTES = [
    page("/adapters/{name}", show),
    page("/adapters/{name}/move", ask),
    page("/adapters/{name}/move", move, method="POST"),
]
