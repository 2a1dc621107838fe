"""A client that leaves, or does not read, pays for what its engine has said by then."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.types import Message

from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.picker.upstream import Upstream
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.body import Body
from adapterworks.gateway.request.endpoints import CHAT, Call, parse
from adapterworks.gateway.request.stream import Piece, Rewriter
from adapterworks.gateway.request.streamed import Streamed
from adapterworks.gateway.request.usage import Usage

HELLO = [{"role": "user", "content": "hello"}]


def _event(number: int) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": number, "total_tokens": 3 + number}
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": usage}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _from_the_wire() -> tuple[Answer, Any]:
    loop = asyncio.get_running_loop()
    wire = SimpleNamespace(loop=loop, resume=lambda: None, end=lambda: None)
    answer = Answer(cast(Any, wire), 60.0)
    return answer, answer._more


def _by_envoy() -> tuple[Upstream, Any]:
    upstream = Upstream(60.0)
    return upstream, lambda data: upstream.feed(data, end=False)


@pytest.mark.parametrize("comes", [_from_the_wire, _by_envoy])
async def test_what_the_engine_has_said_is_counted_though_nobody_is_there(comes: Any) -> None:
    call = parse(CHAT, Body({"model": "m", "messages": HELLO, "stream": True}, 90))
    usage = Usage()
    sent: list[Message] = []
    blocked = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        blocked.set()
        await asyncio.Event().wait()

    async def head() -> None:
        pass

    def rewriter(call: Call, piece: Piece) -> Rewriter:
        return Rewriter(call.asked, "openai", "m", "m", usage, piece=piece)

    account = cast(Account, SimpleNamespace(token=lambda: None))
    streamed = Streamed([call], account, send, head, rewriter, 15.0)
    answer, more = comes()
    more(_event(1))
    passing = asyncio.create_task(streamed.part(cast(Answer, answer)))
    await blocked.wait()
    for number in range(2, 201):
        more(_event(number))
    more(_event(201)[:-9])  # and the beginning of one more
    passing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await passing
    assert (usage.prompt, usage.completion, usage.prompt_known) == (3, 200, True)
    assert len(sent) == 1
    answer.leave()
