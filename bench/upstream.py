"""A fast upstream for measuring proxies: fixed OpenAI answers from a bare asyncio protocol.

It costs a tenth of any proxy in front of it, so that what is measured is the proxy. Not an engine:
what an engine does is measured against the real one (`bench.engine_lora`). It takes any adapter
that it is told to load, and answers under the name that it was asked for.

    python -m bench.upstream PORT MODEL [DIGEST]

With the digest of a base it says that it serves that one, as an engine with our plugin does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import httptools
import uvloop

STREAM_S = 1.28  # a stream's whole time, whatever its number of tokens
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: chat completions, streamed or whole, loads, `/health` and `/v1/models`."""

    def __init__(self, model: str, base: str | None = None) -> None:
        self._model, self._base = model, base
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, body = self._url, self._body
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        if url.startswith(b"/v1/models"):
            self._answer({"object": "list", "data": [{"id": self._model, "object": "model"}]})
        elif url.startswith(b"/v1/chat/completions"):
            asked = json.loads(body)
            if asked.get("stream"):
                self._task = asyncio.ensure_future(self._stream(asked))
            else:
                self._answer(_whole(asked["model"]))
        elif url.startswith(b"/adapterworks/base") and self._base is not None:
            self._answer(
                {
                    "name": self._model,
                    "model": self._model,
                    "digest": self._base,
                    "quantization": "none",
                    "template_digest": self._base,
                    "exact": True,
                }
            )
        elif url.startswith((b"/health", b"/v1/load_lora_adapter", b"/v1/unload_lora_adapter")):
            self._answer({})
        else:
            self._transport.write(_MISSING)

    def _answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self._transport.write(_HEAD % len(data) + data)

    async def _stream(self, asked: dict[str, Any]) -> None:
        model, tokens = asked["model"], asked["max_tokens"]
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for index in range(tokens):
            await asyncio.sleep(STREAM_S / tokens)
            self._event(_chunk(model, " token", index + 1))
        self._event(_chunk(model, "", tokens, "stop"))
        self._send(b"data: [DONE]\n\n")
        self._transport.write(b"0\r\n\r\n")

    def _event(self, value: object) -> None:
        self._send(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")

    def _send(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n" % len(data) + data + b"\r\n")


def _whole(model: str) -> dict[str, object]:
    message = {"role": "assistant", "content": "A06 Amebiasis"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 6, "total_tokens": 46},
    }


def _chunk(model: str, text: str, tokens: int, finish: str | None = None) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": tokens, "total_tokens": 40 + tokens},
    }


async def serve(port: int, model: str, base: str | None = None) -> None:
    """Serve on loopback until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Upstream(model, base), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), *sys.argv[2:]))
