"""A server that ends while an answer is made: the client is told, in words that it can read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.http.app import create_app
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, Running, Start
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def running(
    start: Start, standin: StandIn, registry: Registry, base: Base, tmp_path: Path
) -> Running:
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    standin.token_seconds = 0.05
    return start()


async def _cut(running: Running, path: str, body: dict[str, Any], after: int) -> list[Any]:
    """What was sent to a client whose server ends when `after` messages were."""
    data = json.dumps(body).encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    waiting = [{"type": "http.request", "body": data, "more_body": False}]
    sent: list[Any] = []
    enough = asyncio.Event()

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) >= after:
            enough.set()

    app = create_app(running.gateway)
    task = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
    engine = running.gateway.pool.engines[0]
    async with asyncio.timeout(60):
        if after:
            await enough.wait()
        while not after and not engine.inflight:  # noqa: ASYNC110 (it has no event for us)
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return sent


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/chat/completions", b""), ("/v1/messages", b"event: error\n")],
)
def test_a_stream_ends_in_an_error(running: Running, loop: Loop, path: str, name: bytes) -> None:
    body = {"model": "medical", "messages": HELLO, "max_tokens": 200, "stream": True}
    sent = loop.run(_cut(running, path, body, after=4))
    last = sent[-1]
    assert not last.get("more_body", False)
    assert last["body"].startswith(name + b"data: ")
    error = json.loads(last["body"].partition(b"data: ")[2])
    assert "is being stopped" in error["error"]["message"]


def test_a_whole_answer_is_an_error_of_the_usual_shape(running: Running, loop: Loop) -> None:
    body = {"model": "medical", "messages": HELLO, "max_tokens": 200}
    head, last = loop.run(_cut(running, "/v1/chat/completions", body, after=0))
    assert head["status"] == 503
    headers = dict(head["headers"])
    assert headers[b"retry-after"] == b"1"
    assert int(headers[b"content-length"]) == len(last["body"])
    error = json.loads(last["body"])["error"]
    assert (error["code"], "is being stopped" in error["message"]) == (
        "temporarily_unavailable", True,
    )  # fmt: skip
