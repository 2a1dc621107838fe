"""A small engine on loopback with vLLM's contract, for what a real one is too slow to show.

It keeps what a test wants to know (loads, unloads, concurrent adapters, bodies received). The
contract tests in `test_contract.py` run against it and against the real engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

MAX_MODEL_LEN = 2048
ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@dataclass
class StandIn:
    """The engine's state.

    Attributes:
        token_seconds: time one generated token takes.
        most_active: the largest number of different adapters answering at once.
        broken: when set, streams are cut off and nothing answers.
        cannot_load: what it says to a load instead of doing it.
        headers: of the requests in `bodies`.
        answered: prompt and completion tokens of every answer made to its end, by request id.
        strays: requests on paths that it does not have.
    """

    base: str
    token_seconds: float = 0.0
    load_seconds: float = 0.0
    loaded: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    active: dict[str, int] = field(default_factory=dict)
    most_active: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    broken: bool = False
    cannot_load: str | None = None
    unloaded_in_use: int = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/v1/chat/completions", self._generate, methods=["POST"]),
                Route("/v1/completions", self._generate, methods=["POST"]),
                Route("/pause", self._pause, methods=["POST"]),
                Route("/{path:path}", self._stray, methods=ANY_METHOD),
            ]
        )

    async def _health(self, request: Request) -> Response:
        return Response(status_code=503 if self.broken else 200)

    async def _pause(self, request: Request) -> Response:
        self.broken = True
        return Response()

    async def _stray(self, request: Request) -> Response:
        self.strays.append(request.url.path)
        return PlainTextResponse("Not Found", 404)

    async def _models(self, request: Request) -> Response:
        names = [self.base, *self.loaded]
        return JSONResponse({"object": "list", "data": [{"id": name} for name in names]})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        await asyncio.sleep(self.load_seconds)
        name = body["lora_name"]
        if self.cannot_load is not None:
            return _error(400, self.cannot_load)
        if name in self.loaded:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        self.loaded[name] = body["lora_path"]
        self.loads.append(name)
        return PlainTextResponse("Success")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        self.unloads.append(name)
        self.unloaded_in_use += bool(self.active.get(name))
        if self.loaded.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        return PlainTextResponse("Success")

    async def _generate(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        model = body["model"]
        if model != self.base and model not in self.loaded:
            return _error(404, f"The model `{model}` does not exist.")
        chat = request.url.path.endswith("chat/completions")
        if chat and not isinstance(body.get("messages"), list):
            return _error(400, "messages: Input should be a valid list")
        wanted = body.get("max_tokens") or body.get("max_completion_tokens") or 8
        if type(wanted) is not int or not 0 < wanted <= MAX_MODEL_LEN:
            return _error(400, f"max_tokens must be from 1 to {MAX_MODEL_LEN}")
        words = [f"{model[-8:]}-{number} " for number in range(wanted)]
        prompt = 1 + len(json.dumps(body.get("messages", body.get("prompt")))) // 4
        self.prompt_tokens += prompt
        if body.get("stream"):
            request_id = request.headers.get("x-request-id", "")
            events = self._events(body, model, words, prompt, chat, request_id)
            return StreamingResponse(events, media_type="text/event-stream")
        async with _Active(self, model):
            await asyncio.sleep(self.token_seconds * len(words))
        self.completion_tokens += len(words)
        self.answered[request.headers.get("x-request-id", "")] = (prompt, len(words))
        text = "".join(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        return _json({**_head(model, chat), "choices": [choice], "usage": _usage(prompt, wanted)})

    async def _events(
        self,
        body: dict[str, Any],
        model: str,
        words: list[str],
        prompt: int,
        chat: bool,
        request_id: str,
    ) -> AsyncIterator[bytes]:
        options = body.get("stream_options") or {}
        async with _Active(self, model):
            for number, word in enumerate(words, 1):
                await asyncio.sleep(self.token_seconds)
                if self.broken:
                    raise ConnectionResetError("the stand-in was told to break")
                choice: dict[str, Any] = {"index": 0, "finish_reason": None}
                choice |= {"delta": {"content": word}} if chat else {"text": word}
                event = {**_head(model, chat, chunk=True), "choices": [choice]}
                if options.get("continuous_usage_stats"):
                    event["usage"] = _usage(prompt, number)
                self.completion_tokens += 1
                yield _event(event)
            if options.get("include_usage"):
                yield _event(
                    {
                        **_head(model, chat, chunk=True),
                        "choices": [],
                        "usage": _usage(prompt, len(words)),
                    }
                )
            self.answered[request_id] = (prompt, len(words))
            yield b"data: [DONE]\n\n"


class _Active:
    """Counts the adapters that answer at the same time."""

    def __init__(self, standin: StandIn, model: str) -> None:
        self._standin, self._model = standin, model

    async def __aenter__(self) -> None:
        active = self._standin.active
        active[self._model] = active.get(self._model, 0) + 1
        running = sum(1 for name, n in active.items() if n and name != self._standin.base)
        self._standin.most_active = max(self._standin.most_active, running)

    async def __aexit__(self, *exc: object) -> None:
        self._standin.active[self._model] -= 1


def _head(model: str, chat: bool, chunk: bool = False) -> dict[str, Any]:
    kind = ("chat.completion" if chat else "text_completion") + (".chunk" if chunk and chat else "")
    return {"id": "cmpl-1", "object": kind, "created": 1, "model": model}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _error(status: int, message: str) -> Response:
    body = {"error": {"message": message, "type": "BadRequest", "param": None, "code": status}}
    return JSONResponse(body, status_code=status)
