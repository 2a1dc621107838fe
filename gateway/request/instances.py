"""Several requests in one body, as Vertex AI sends them: `{"instances": […], "parameters": …}`.

Each is a request of its own: checked like one, admitted, metered. All are checked before the first
is asked; the first that fails ends the others, and its error is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from adapterworks.gateway.request.body import Body
from adapterworks.gateway.request.collected import collected
from adapterworks.gateway.request.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, Call, parse
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.manifests.errors import AdapterworksError

MOST_INSTANCES = 128
_AT_ONCE = 8
_BY_FIELD = {"messages": CHAT, "prompt": COMPLETIONS, "input": EMBEDDINGS}


def call_of(body: Body, default: str | None) -> Call:
    """The request that a body without a path of its own is: by what it asks with.

    Args:
        default: the adapter of one that names no model.

    Raises:
        InvalidInput: it is none, or says two things.
    """
    values = body.values if default is None else {"model": default, **body.values}
    named = [field for field in _BY_FIELD if values.get(field) is not None]
    if len(named) != 1:
        raise InvalidField(
            "the body must have one of `messages`, `prompt` and `input`",
            param=named[1] if named else None,
            hint="it is what `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings` takes",
        )
    return parse(_BY_FIELD[named[0]], Body(values, body.size, body.oversized))


def calls_of(body: Body, default: str | None) -> list[Call]:
    """The requests of `instances`, each with what `parameters` says where it does not.

    Raises:
        InvalidInput: one of them is none; it is named.
    """
    instances, parameters = body.values["instances"], body.values.get("parameters")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MOST_INSTANCES:
        what = f"`instances` must be a list of 1 to {MOST_INSTANCES}"
        raise InvalidField(what, param="instances")
    if not isinstance(parameters, dict | None):
        raise InvalidField("`parameters` must be an object", param="parameters")
    shared = _sizes(parameters or {})
    calls = []
    for number, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise InvalidField(f"`instances[{number}]` must be an object", param="instances")
        size = sum({**shared, **_sizes(instance)}.values())
        own = Body({**(parameters or {}), **instance}, size, body.oversized)
        try:
            call = call_of(own, default)
        except AdapterworksError as error:
            raise _of(error, number) from error
        if call.asked.stream:
            raise InvalidField(
                f"`instances[{number}]`: `stream` has no meaning here",
                param="instances",
                hint="send the request itself, without `instances`, for its stream (`rawPredict`)",
            )
        calls.append(call)
    return calls


def _sizes(values: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of JSON that each field takes."""
    return {name: len(to_json({name: value})) for name, value in values.items()}


class Predictions:
    """An ASGI answer: `{"predictions": […]}`, in the order of the exchanges."""

    def __init__(self, exchanges: Sequence[Exchange], receipt: Receipt) -> None:
        self._exchanges = exchanges
        self._receipt = receipt
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; give all of them up as soon as the client is gone."""
        watching = asyncio.create_task(self._watch(receive))
        try:
            async with asyncio.TaskGroup() as group:
                asked = [
                    group.create_task(self._one(number, exchange))
                    for number, exchange in enumerate(self._exchanges)
                ]
        except* AdapterworksError as errors:
            raise errors.exceptions[0] from None
        finally:
            watching.cancel()
        if not self._gone.is_set():
            await _answer(send, [task.result() for task in asked], self._receipt.headers())

    async def _one(self, number: int, exchange: Exchange) -> bytes:
        async with self._places:
            if self._gone.is_set():
                return b""
            try:
                _, body = await collected(exchange, self._left)
            except AdapterworksError as error:
                raise _of(error, number) from error
            return body

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def _left(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}


def _of(error: AdapterworksError, number: int) -> AdapterworksError:
    """The same error, saying which of them it is of; others may have it too, who asked for none."""
    own = error.again()
    own.message = f"`instances[{number}]`: {error.message}"
    return own


async def _answer(send: Send, bodies: list[bytes], headers: Mapping[str, str]) -> None:
    body = b'{"predictions":[' + b",".join(bodies) + b"]}"
    shown: dict[str, Any] = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in shown.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": body})
