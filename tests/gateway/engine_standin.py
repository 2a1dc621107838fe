"""A small engine on loopback with vLLM's contract, for what a real one is too slow to show.

It keeps what a test wants to know (loads, unloads, concurrent adapters, bodies received). The
contract tests in `test_contract.py` run against it and against the real engine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.gateway.standin_answers import Answer

MAX_MODEL_LEN = 2048
ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

# What an engine says of a failure; no client is to see such places.
FAILURE = "worker at http://10.0.0.3:8000 died: /root/models/x.py"

# Of characters: a token is a character here.
VOCABULARY = 0x110000


@dataclass
class StandIn:
    """The engine's state.

    Attributes:
        token_seconds: time one generated token takes.
        most_active: the largest number of different adapters answering at once.
        broken: when set, streams are cut off and nothing answers.
        cannot_load: what it says to a load instead of doing it.
        headers: of the requests in `bodies`.
        answered: prompt and completion tokens of every answer made to its end, by request id; the
            parts of one request together.
        counted: the same of every answer it began, as far as it came.
        cached: half of each prompt is said to come from the cache.
        makes: the most tokens that an answer has, whatever it may have.
        tokens: those of every answer, instead of its own.
        holds_after: a stream waits after so many events of tokens, and a whole answer before its
            end, until this is None again or the engine is broken.
        fails_after: a stream ends with an error after so many events of tokens, and a whole answer
            is one, with a status of 200.
        countless: it does not say what an answer cost.
        sequences: answers to prompts it was asked for, all in all.
        working, most_working: those it works on now, and the most of them at once.
        hides_after: a stream's events of tokens are not sent after so many, as those are not in
            which a parser of tools has nothing to say.
        embeds: it makes vectors, and has the path for it.
        turns_away: so many requests are answered with 429 before the next is worked on.
        scores_prompts: it scores the positions that a probe names, as one with our plugin does.
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
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    active: dict[str, int] = field(default_factory=dict)
    most_active: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    broken: bool = False
    cannot_load: str | None = None
    unloaded_in_use: int = 0
    cached: bool = False
    countless: bool = False
    makes: int | None = None
    tokens: list[str] | None = None
    holds_after: int | None = None
    fails_after: int | None = None
    hides_after: int | None = None
    embeds: bool = False
    turns_away: int = 0
    scores_prompts: bool = False
    sequences: int = 0
    working: int = 0
    most_working: int = 0

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
                Route("/v1/responses", self._generate, methods=["POST"]),
                Route("/v1/messages", self._generate, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/detokenize", self._detokenize, methods=["POST"]),
                Route("/pause", self._pause, methods=["POST"]),
                Route("/{path:path}", self._stray, methods=ANY_METHOD),
            ]
        )

    async def _health(self, request: Request) -> Response:
        return Response(status_code=503 if self.broken else 200)

    async def _count(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        return JSONResponse({"input_tokens": 1 + len(json.dumps(body["messages"])) // 4})

    async def _embed(self, request: Request) -> Response:
        if not self.embeds:
            return await self._stray(request)
        body = await request.json()
        self.bodies.append(body)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self.most_working = max(self.most_working, len(texts))
        read = sum(len(text) for text in texts)
        self.prompt_tokens += read
        data = [
            {"object": "embedding", "index": index, "embedding": [float(len(text))]}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": read, "total_tokens": read, "completion_tokens": 0}
        made = {"object": "list", "model": body["model"], "data": data, "usage": usage}
        return JSONResponse({"id": "embd-1", **made})

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        tokens = [ord(c) for c in body.get("prompt") or json.dumps(body.get("messages"))]
        told = {"count": len(tokens), "max_model_len": MAX_MODEL_LEN, "tokens": tokens}
        return JSONResponse(told)

    async def _detokenize(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if not all(isinstance(n, int) and 0 <= n < VOCABULARY for n in body["tokens"]):
            return _error(400, "Token id is out of vocabulary")
        return JSONResponse({"prompt": "".join(chr(token) for token in body["tokens"])})

    async def _pause(self, request: Request) -> Response:
        self.broken = True
        return Response()

    async def _stray(self, request: Request) -> Response:
        self.strays.append(request.url.path)
        return PlainTextResponse("Not Found", 404)

    async def _models(self, request: Request) -> Response:
        names = [self.base, *self.loaded]
        data = [{"id": name, "max_model_len": MAX_MODEL_LEN} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        began = time.monotonic()
        await asyncio.sleep(0)
        # A little at a time: a test that has seen enough takes the rest back.
        while (left := began + self.load_seconds - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, 0.05))
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
        if self.turns_away > 0:
            self.turns_away -= 1
            return _error(429, "too many requests")
        if model != self.base and model not in self.loaded:
            return _error(404, f"The model `{model}` does not exist.")
        named = body.get("vllm_xargs", {}).get("adapterworks_positions")
        if self.scores_prompts and named is not None:
            return JSONResponse(_scored(body["prompt"], named))
        answer = _answer(request.url.path, model, body, self.cached)
        if isinstance(answer, str):
            return _error(400, answer)
        answer.countless = self.countless
        answer.words = (answer.words if self.tokens is None else self.tokens)[: self.makes]
        self.prompt_tokens += answer.counts[0]
        self.sequences += answer.sequences
        request_id = request.headers.get("x-request-id", "")
        if request_id and request.url.path == "/v1/chat/completions":
            answer.id = f"chatcmpl-{request_id}"  # as vLLM names it
        before = self.answered.get(request_id, (0, 0))  # of parts of the same request
        self.counted[request_id] = (before[0] + answer.counts[0], before[1])
        # As lenient as vLLM's pydantic.
        if body.get("stream") in (True, 1, "1", "true", "yes", "on"):
            events = self._events(answer, request_id, before)
            return StreamingResponse(events, media_type="text/event-stream")
        async with _Active(self, answer):
            await asyncio.sleep(self.token_seconds * len(answer.words))
            await self._held(answer.counts[1])
        self.completion_tokens += answer.counts[1]
        whole = (before[0] + answer.counts[0], before[1] + answer.counts[1])
        self.answered[request_id] = self.counted[request_id] = whole
        if self.fails_after is not None:
            return JSONResponse({"error": {"message": FAILURE, "type": "InternalServerError"}})
        return Response(answer.whole(), media_type="application/json")

    async def _held(self, made: int) -> None:
        while not self.broken and self.holds_after is not None and made >= self.holds_after:  # noqa: ASYNC110 (a test changes it)
            await asyncio.sleep(0.01)

    async def _events(
        self, answer: Answer, request_id: str, before: tuple[int, int]
    ) -> AsyncIterator[bytes]:
        made, read = 0, before[0] + answer.counts[0]
        async with _Active(self, answer):
            for event, tokens in answer.events():
                if tokens and made % answer.sequences == 0:
                    await asyncio.sleep(self.token_seconds)
                await self._held(made)
                if self.fails_after == made:
                    yield answer.failure(FAILURE)
                    return
                if self.broken:
                    raise ConnectionResetError("the stand-in was told to break")
                made += tokens
                self.completion_tokens += tokens
                self.counted[request_id] = (read, before[1] + made)
                if made == answer.counts[1] and not tokens:
                    self.answered[request_id] = self.counted[request_id]
                if tokens and self.hides_after is not None and made > self.hides_after:
                    continue
                yield event


def _scored(prompt: list[int], positions: list[int]) -> dict[str, Any]:
    """Each token as sure as can be, where it is asked for."""
    scores = [{str(prompt[at]): {"logprob": 0.0, "rank": 1}} for at in positions]
    choice = {"index": 0, "text": "", "prompt_logprobs": [None, *scores]}
    return {"choices": [choice], "usage": {"total_tokens": len(prompt) + 1}}


def _answer(path: str, model: str, body: dict[str, Any], cached: bool) -> Answer | str:
    """What it will say, or why it refuses."""
    chat = path.endswith("chat/completions")
    if (chat or path == "/v1/messages") and not isinstance(body.get("messages"), list):
        return "messages: Input should be a valid list"
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    wanted = next((body[name] for name in names if body.get(name)), 8)
    if type(wanted) is not int or not 0 < wanted <= MAX_MODEL_LEN:
        return f"max_tokens must be from 1 to {MAX_MODEL_LEN}"
    asked = body.get("messages", body.get("input", body.get("prompt")))
    several = path == "/v1/completions" and isinstance(asked, list) and type(asked[0]) is not int
    prompts = [1 + len(json.dumps(prompt)) // 4 for prompt in (asked if several else [asked])]
    words = [f"{model[-8:]}-{number} " for number in range(wanted)]
    choices = body.get("n", 1)
    return Answer(path, model, body, prompts, choices, words, prompts[0] // 2 if cached else 0)


class _Active:
    """Counts the adapters, and the sequences, that are answering at the same time."""

    def __init__(self, standin: StandIn, answer: Answer) -> None:
        self._standin, self._answer = standin, answer

    async def __aenter__(self) -> None:
        standin, model = self._standin, self._answer.model
        active = standin.active
        active[model] = active.get(model, 0) + 1
        running = sum(1 for name, n in active.items() if n and name != standin.base)
        standin.most_active = max(standin.most_active, running)
        standin.working += self._answer.sequences
        standin.most_working = max(standin.most_working, standin.working)

    async def __aexit__(self, *exc: object) -> None:
        self._standin.active[self._answer.model] -= 1
        self._standin.working -= self._answer.sequences


def _error(status: int, message: str) -> Response:
    body = {"error": {"message": message, "type": "BadRequest", "param": None, "code": status}}
    return JSONResponse(body, status_code=status)
