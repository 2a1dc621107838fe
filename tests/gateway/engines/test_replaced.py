"""An engine that joined by what it says is asked again when it comes back: is it another one?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.engines.identity import ask_base
from adapterworks.gateway.engines.remote import RemoteEngine
from tests.gateway.running import serve

ONE, OTHER = "sha256:" + "b" * 64, "sha256:" + "d" * 64


class Program:
    """What runs at a URL: an engine that says its base, until another one is started there."""

    def __init__(self) -> None:
        self.up, self.says = True, True
        self.digest = ONE

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", self.models),
                Route("/adapterworks/base", self.base),
            ]
        )

    def health(self, request: Request) -> Response:
        return Response(status_code=200 if self.up else 503)

    def models(self, request: Request) -> Response:
        return JSONResponse({"data": [{"id": "tiny"}]})

    def base(self, request: Request) -> Response:
        said = {
            "name": "tiny", "model": "tiny", "digest": self.digest, "quantization": "none",
            "template_digest": "sha256:" + "c" * 64, "exact": True,
        }  # fmt: skip
        return JSONResponse(said) if self.says else Response(status_code=404)


@asynccontextmanager
async def watched(program: Program, *, told: bool) -> AsyncIterator[RemoteEngine]:
    """The engine of that program, ready."""
    served = await serve(program.app())
    engine = RemoteEngine(
        "one", await ask_base(served.url, None), url=served.url, slots=1, capacity=1, parallel=1,
        key=None, interval=0.02, request_seconds=5.0, told=told,
    )  # fmt: skip
    await engine.start()
    try:
        await until(lambda: engine.health.state == "ready")
        yield engine
    finally:
        await engine.stop()
        await served.stop()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def restart(program: Program, engine: RemoteEngine, **changes: Any) -> None:
    """Have another program come up there, once the gateway has seen that the first one is gone."""
    program.up = False
    await until(lambda: engine.health.state == "down")
    for name, value in changes.items():
        setattr(program, name, value)
    program.up = True


async def test_another_base_at_its_url_is_another_engine() -> None:
    program = Program()
    async with watched(program, told=True) as engine:
        await restart(program, engine)
        await until(lambda: engine.health.state == "ready")
        assert not engine.replaced
        await restart(program, engine, digest=OTHER)
        await until(lambda: engine.replaced)
        assert engine.health.state == "down"
        assert "serves `tiny` (sha256:dddddddddddd…) now" in engine.health.reason
        assert engine.base.digest == ONE


async def test_one_that_does_not_say_its_base_any_more_is_down_until_it_does() -> None:
    program = Program()
    async with watched(program, told=True) as engine:
        await restart(program, engine, says=False)
        await until(lambda: "does not say which base" in engine.health.reason)
        assert (engine.health.state, engine.replaced) == ("down", False)
        program.says = True
        await until(lambda: engine.health.state == "ready")


async def test_one_whose_base_is_named_is_believed_to_serve_it() -> None:
    program = Program()
    async with watched(program, told=False) as engine:
        await restart(program, engine, digest=OTHER)
        await until(lambda: engine.health.generation == 2)
        assert (engine.health.state, engine.replaced) == ("ready", False)
