"""One version: card, plots, gates, proofs, files and lineage; and two of them compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapterworks.gateway.console.inside import part
from adapterworks.gateway.console.markdown import PLOT, card_html
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import ROOT, Visit, page

_REGISTRY = "/v1/registry"
_PNG = b"\x89PNG\r\n\x1a\n"
_PARTS = ("release", "manifest", "data", "lock", "metrics", "files")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePage(Page):
    """A version.

    Attributes:
        release: as `/v1/registry/releases/{ref}` has it.
        lineage: what it was made from.
        card: its model card; None if it has none.
        others: the other versions that it can be compared with, newest first.
        compared: query of the playground with it and its base; empty if the key does not open that.
    """

    template: ClassVar[str] = "release.html"
    area: ClassVar[str] = "adapters"
    release: dict[str, Any]
    lineage: dict[str, Any]
    card: Markup | None
    others: tuple[int, ...]
    compared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences(Page):
    """Two releases side by side.

    Attributes:
        before, after: their refs.
        sections: (what it is about, the keys that differ), without what is the same.
        size: of both, in bytes.
    """

    template: ClassVar[str] = "diff.html"
    area: ClassVar[str] = "adapters"
    before: str
    after: str
    sections: tuple[tuple[str, tuple[dict[str, Any], ...]], ...]
    size: tuple[int, int]


async def show(visit: Visit) -> Response:
    """`GET /adapters/{name}/versions/{version}`."""
    name, version = _asked(visit)
    ref = f"{name}@{version}"
    release, lineage, versions = await asyncio.gather(
        visit.api.get(f"{_REGISTRY}/releases/{ref}"),
        visit.api.get(f"{_REGISTRY}/adapters/{name}/lineage", version=version),
        visit.api.get(f"{_REGISTRY}/adapters/{name}/versions", limit=50),
    )
    here = f"{ROOT}/adapters/{quote(name)}/versions/{quote(version)}/plots/"
    text = release["card"]
    return visit.show(
        ReleasePage(
            release=release,
            lineage=lineage,
            card=None if text is None else card_html(text, lambda file: here + quote(file)),
            others=tuple(
                row["version"] for row in versions["data"] if str(row["version"]) != version
            ),
            compared=await _compared(visit, release),
            commands=(
                command("adapters", "show", ref),
                command("adapters", "lineage", ref),
                command("adapters", "chat", ref, str(visit.words("playground.example"))),
            ),
        )
    )


async def _compared(visit: Visit, release: dict[str, Any]) -> str:
    """The base is named as it is served here, which is not what its record calls it."""
    if "models" not in visit.session.doors:
        return ""
    engines = (await visit.api.get("/v1/engines"))["data"]
    base = [e["base"] for e in engines if e["base_digest"] == release["base_digest"]][:1]
    return urlencode([("model", name) for name in (*base, release["id"])])


async def plot(visit: Visit) -> Response:
    """`GET /adapters/{name}/versions/{version}/plots/{file}`: a PNG of the release, and no other
    thing."""
    name, version = _asked(visit)
    path = f"plots/{visit.request.path_params['file']}"
    release = await visit.api.get(f"{_REGISTRY}/releases/{name}@{version}")
    found = next((file for file in release["files"] if file["path"] == path), None)
    if found is None or not PLOT.fullmatch(path):
        raise HTTPException(404)
    answer = await visit.api.ask("GET", f"{_REGISTRY}/blobs/{found['digest']}")
    if answer.status != 200 or not answer.body.startswith(_PNG):
        raise HTTPException(404)
    return Response(answer.body, media_type="image/png")


async def compare(visit: Visit) -> Response:
    """`GET /diff`: two refs, `before` and `after`."""
    before, after = part(visit.asked("before") or ""), part(visit.asked("after") or "")
    found = await visit.api.get(f"{_REGISTRY}/releases/{before}/diff/{after}")
    sections = tuple((name, tuple(found[name])) for name in _PARTS if found[name])
    return visit.show(
        Differences(
            before=before,
            after=after,
            sections=sections,
            size=(found["size"][0], found["size"][1]),
            commands=(command("adapters", "diff", before, after),),
        )
    )


def _asked(visit: Visit) -> tuple[str, str]:
    path = visit.request.path_params
    return part(path["name"]), part(path["version"])


ROUTES = [
    page("/adapters/{name}/versions/{version}", show),
    page("/adapters/{name}/versions/{version}/plots/{file}", plot),
    page("/diff", compare),
]
