"""An engine that points elsewhere is not followed: what it is sent goes to nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse

from adapterworks.manifests.errors import Unavailable
from tests.gateway.running import Loop, remote_engine


@pytest.mark.parametrize("way", ["relayed", "admin"])
def test_a_redirect_is_not_followed(loop: Loop, way: str) -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        if scope["method"] == "POST":
            answer: Any = RedirectResponse("/elsewhere")
        else:
            answer = JSONResponse({"data": [{"id": "base"}]})
        await answer(scope, receive, send)

    async def scene() -> None:
        async with remote_engine(app) as engine:
            if way == "relayed":
                async with engine.post("/v1/chat/completions", b"{}", {}) as answer:
                    assert answer.status == 307
            else:
                with pytest.raises(Unavailable):
                    await engine.unload("sha256:" + "a" * 64)

    loop.run(scene())
    assert "/elsewhere" not in paths
    assert len([path for path in paths if path.startswith("/v1/")]) >= 1
