"""An engine elsewhere is proved with the chat template that it has, not with the one we have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from adapterworks.gateway.engines.plan import remote_base
from adapterworks.gateway.engines.remote import OTHER_TEMPLATE, RemoteEngine
from adapterworks.gateway.engines.rendering import renders_alike
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.residency.proof import _check_identity
from adapterworks.gateway.residency.verdict import ProofFailed
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.rendering import CONVERSATIONS, Rendering, renderings
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve

OURS = "sha256:" + "a" * 64
THEIRS = "sha256:" + "c" * 64
Render = Callable[[list[dict[str, str]]], str]


def plain(turns: list[dict[str, str]]) -> str:
    return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + "<answer>"


KNOWN = tuple(Rendering(turns, plain([dict(turn) for turn in turns])) for turns in CONVERSATIONS)
BASE = ServedBase("tiny", "tiny", "sha256:" + "b" * 64, template_digest=OURS, renderings=KNOWN)


@dataclass
class Templated(StandIn):
    """An engine with a template of its own, or without `/tokenize`."""

    render: Render | None = None

    async def _tokenize(self, request: Request) -> Response:
        if self.render is None:
            return PlainTextResponse("Not Found", 404)
        body = await request.json()
        try:
            text = body["prompt"] if "prompt" in body else self.render(body["messages"])
        except ValueError as error:
            return JSONResponse({"error": {"message": str(error)}}, 400)
        tokens = [ord(letter) for letter in text]
        return JSONResponse({"count": len(tokens), "max_model_len": 4096, "tokens": tokens})


@asynccontextmanager
async def met(
    render: Render | None, base: ServedBase = BASE, said: dict[str, Any] | None = None
) -> AsyncIterator[RemoteEngine]:
    """The engine once it is ready."""
    app = Templated("tiny", render=render).app()
    if said is not None:

        def says(request: Request) -> Response:
            return JSONResponse(said)

        app = Starlette(routes=[Route("/adapterworks/base", says), *app.routes])
    served = await serve(app)
    engine = RemoteEngine(
        "one", base, url=served.url, slots=1, capacity=1, parallel=1, key=None, interval=0.05,
        request_seconds=5.0,
    )  # fmt: skip
    await engine.start()
    try:
        async with asyncio.timeout(60):
            while engine.health.state != "ready":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield engine
    finally:
        await engine.stop()
        await served.stop()


def trimmed(turns: list[dict[str, str]]) -> str:
    return plain([{**turn, "content": turn["content"].strip()} for turn in turns])


def no_system(turns: list[dict[str, str]]) -> str:
    if turns[0]["role"] == "system":
        raise ValueError("no system turns")
    return plain(turns)


@pytest.mark.parametrize(
    ("render", "known", "digest"),
    [
        (plain, KNOWN, OURS),
        (trimmed, KNOWN, OTHER_TEMPLATE),
        (no_system, KNOWN, OTHER_TEMPLATE),
        (None, KNOWN, None),
        (plain, (), None),
        (trimmed, tuple(replace(one, dated=True) for one in KNOWN), None),
    ],
    ids=["the same", "one that trims", "one that refuses", "no answer", "none here", "the day"],
)
async def test_its_own_template_counts(
    render: Render | None, known: tuple[Rendering, ...], digest: str | None
) -> None:
    async with met(render, replace(BASE, renderings=known)) as engine:
        assert engine.base.template_digest == digest


async def test_what_the_plugin_says_is_not_asked_again() -> None:
    said = {
        "name": "tiny", "model": "tiny", "digest": BASE.digest, "quantization": "none",
        "template_digest": THEIRS, "exact": True,
    }  # fmt: skip
    async with met(plain, said=said) as engine:
        assert engine.base.template_digest == THEIRS


async def test_an_adapter_of_another_template_is_refused() -> None:
    base = SimpleNamespace(digest=BASE.digest)
    release = cast(Any, SimpleNamespace(name="medical", digest="sha256:" + "d" * 64, base=base))
    document = cast(Any, SimpleNamespace(base_digest=BASE.digest, template_digest=OURS))
    async with met(plain) as engine:
        _check_identity(engine, release, document)
    async with met(trimmed) as engine:
        with pytest.raises(ProofFailed, match="another chat template than its engine has"):
            _check_identity(engine, release, document)


@pytest.mark.engine
def test_vllm_renders_as_we_do(engine: Any, base: Base, loop: Loop) -> None:
    known = renderings(base.checkpoint)
    assert len(known) == len(CONVERSATIONS)
    assert remote_base(base).renderings == known
    name = base.name
    assert loop.run(renders_alike(engine._admin, name, known)) is True
    other = (replace(known[-1], text=known[-1].text.replace("\n", " \n", 1)),)
    assert loop.run(renders_alike(engine._admin, name, other)) is False
