"""`/console/static/…`: styles, scripts and an icon, read once; any other name is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Assets:
    """The files by their names, each with a digest of its bytes."""

    def __init__(self) -> None:
        self._files = {
            path.relative_to(_FOLDER).as_posix(): (path.read_bytes(), _TYPES[path.suffix])
            for path in sorted(_FOLDER.rglob("*"))
            if path.suffix in _TYPES
        }
        self._tags = {
            name: f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            for name, (data, _) in self._files.items()
        }

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/static/{name:path}", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404)
        data, kind = self._files[name]
        # Asked again each time, and sent again only when it is another one.
        headers = {"etag": self._tags[name], "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers={**headers, "content-type": kind})
