"""Request bodies as nobody should send them: generated from a seed, over all endpoints.

About a third are in order, so that the engine has work and something to count; the others have odd
values in fields that mean something, fields of other endpoints, or bytes that are hardly JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapterworks.gateway.request.endpoints import ENDPOINTS, GENERATE

HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"input_tokens": 0, "output_tokens": -1_000_000}
_DEEP = json.loads("[" * 60 + "]" * 60)
ODD: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 17, 2**31, 2**63, -(2**63), 10**25, 10**400, 0.5, 1.0, -0.0, 1e30, 1e308,
    "", "5", "true", "auto", "x\0y", "ü🩺", "x" * 5000, True, False, None, [], {}, [[]], [None],
    [1, "a"], ["a", "b"], [[1, 2], [3]], {"a": 1}, {"usage": USAGE}, {"type": "json_object"}, _DEEP,
)  # fmt: skip
TOOL = {"type": "function", "name": "usage", "parameters": {"properties": {"usage": USAGE}}}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 4},
    "/v1/completions": {"prompt": "hello", "max_tokens": 4},
    "/v1/responses": {"input": "hello", "max_output_tokens": 4, "tools": [TOOL]},
    "/v1/messages": {"messages": HELLO, "max_tokens": 4},
    "/v1/embeddings": {"input": "hello"},
    "/generate": {"prompt": "hello", "max_tokens": 4},
}
FIELDS = sorted(
    {name for e in (*ENDPOINTS, GENERATE) for name in (*e.type.model_fields, *e.refused)}
    | {"adapter", "cache_salt", "priority", "unheard_of", "usage"}
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request.

    Attributes:
        leave: the client goes away in the middle.
    """

    path: str
    body: bytes
    leave: bool = False


def generate(seed: int, count: int, models: tuple[str, ...]) -> list[Hostile]:
    """`count` requests; the same seed gives the same ones."""
    rng = random.Random(seed)
    return [_one(rng, models) for _ in range(count)]


def _one(rng: random.Random, models: tuple[str, ...]) -> Hostile:
    path = rng.choice(sorted(GOOD))
    name = "adapter" if path == "/generate" else "model"
    body: dict[str, Any] = {name: rng.choice(models), **GOOD[path]}
    if path not in ("/generate", "/v1/embeddings") and rng.random() < 0.5:
        body["stream"] = True
    if path in ("/v1/completions", "/v1/chat/completions") and rng.random() < 0.3:
        body["n"] = rng.choice((1, 2, 3, 70))
    if path == "/v1/completions" and rng.random() < 0.3:
        body["prompt"] = ["hello"] * rng.choice((1, 2, 5, 30, 2000))
    draw = rng.random()
    if draw < 0.35:
        return Hostile(path, json.dumps(body).encode(), leave=rng.random() < 0.1)
    if draw < 0.85:
        for _ in range(rng.randint(1, 3)):
            field = rng.choice(FIELDS) if rng.random() < 0.5 else rng.choice(sorted(body))
            body[field] = rng.choice(ODD)
        return Hostile(path, json.dumps(body).encode())
    return Hostile(path, rng.choice(_BROKEN)(rng, body))


def _without_a_field(rng: random.Random, body: dict[str, Any]) -> bytes:
    gone = rng.choice(sorted(body))
    return json.dumps({name: value for name, value in body.items() if name != gone}).encode()


def _a_key_twice(rng: random.Random, body: dict[str, Any]) -> bytes:
    name = rng.choice(sorted(body))
    return json.dumps(body).encode()[:-1] + f", {json.dumps(name)}: 5}}".encode()


def _a_long_name(rng: random.Random, body: dict[str, Any]) -> bytes:
    length = 3_900_000 if rng.random() < 0.1 else rng.choice((65, 201, 5000))
    return json.dumps({**body, "model": f"{rng.random()}" + "x" * length}).encode()


def _a_name_of_nobody(rng: random.Random, body: dict[str, Any]) -> bytes:
    return json.dumps({**body, "model": f"nobody-{rng.randrange(10**9)}"}).encode()


def _a_lone_surrogate(rng: random.Random, body: dict[str, Any]) -> bytes:
    return json.dumps({**body, rng.choice(FIELDS): "\ud800"}).encode()


def _nesting(rng: random.Random, body: dict[str, Any]) -> bytes:
    depth = rng.choice((150, 250, 100_000))
    return json.dumps(body).encode()[:-1] + b', "tools": ' + b"[" * depth + b"]" * depth + b"}"


def _another_alphabet(rng: random.Random, body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode(rng.choice(("utf-16", "utf-32", "cp037")))


def _cut_off(rng: random.Random, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return data[: rng.randrange(len(data))]


def _no_object(rng: random.Random, body: dict[str, Any]) -> bytes:
    return rng.choice(
        (b"", b"null", b"[]", b"5", b'"x"', b"NaN", b"{}", json.dumps([body]).encode())
    )


def _no_number(rng: random.Random, body: dict[str, Any]) -> bytes:
    value = rng.choice((b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"01", b"+1", b"0x10"))
    return json.dumps(body).encode()[:-1] + b', "max_tokens": ' + value + b"}"


_BROKEN: tuple[Callable[[random.Random, dict[str, Any]], bytes], ...] = (
    _without_a_field, _a_key_twice, _a_long_name, _a_name_of_nobody, _a_lone_surrogate, _nesting,
    _another_alphabet, _cut_off, _no_object, _no_number,
)  # fmt: skip
