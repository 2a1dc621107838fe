"""The engine's answer on its way to the client, and its counts on their way to the account.

Invariant: what was answered is metered durably before the client can have the last byte of it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from pydantic_core import from_json, to_json
from starlette.types import Send

from adapterworks.gateway.engine_plugin.servables import MISSING, PARAMETER
from adapterworks.gateway.engines.engine import NotLoaded
from adapterworks.gateway.engines.messages import message
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.endpoints import EMBEDDINGS, Call
from adapterworks.gateway.request.errors import (
    InvalidField,
    TooLarge,
    error_body,
    error_headers,
    shape_of,
)
from adapterworks.gateway.request.parts import put_together
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.recorder import Recorder
from adapterworks.gateway.request.stream import Piece, Rewriter, failure, rename
from adapterworks.gateway.request.streamed import Streamed
from adapterworks.gateway.request.usage import Unusable, read_counts
from adapterworks.manifests.errors import NotFound, Unavailable

# What vLLM answers where its model makes none: it has no such path.
_NO_EMBEDDINGS = (404, 405, 501)
_BROKEN = (ConnectionError, TimeoutError)
_log = logging.getLogger(__name__)


class Relay:
    """One answer.

    Args:
        parts: the request, in the pieces that the engine is asked.
        model: the engine's name for what answers.
        target: what the client asked for.
        keep_alive: seconds of a stream's silence after which the client is sent a comment, so that
            no proxy in between takes the connection for dead.
        recorder: holds the answer for a tenant that lets it be kept.

    Attributes:
        streamed: the answer, as far as it is a stream.
    """

    def __init__(
        self,
        call: Call,
        parts: Sequence[Call],
        receipt: Receipt,
        account: Account,
        model: str,
        target: Target,
        send: Send,
        *,
        keep_alive: float,
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder = recorder
        self._call = call
        self._receipt = receipt
        self._account = account
        self._model = model
        self._target = target
        self._send = send
        # Nothing of it leads back here: what a request leaves must need no collector.
        self.streamed = Streamed(
            parts,
            account,
            send,
            partial(_send_head, send, receipt, 200, "text/event-stream; charset=utf-8"),
            partial(_rewriter, account, model, target.ref, recorder),
            keep_alive,
        )
        self._several = len(parts) > 1
        self._began = time.monotonic()

    async def answer(self, upstream: Answer) -> None:
        """Pass it on as it comes.

        Raises:
            InvalidInput: the engine refused what the client sent.
            NotFound: the engine does not have the endpoint.
            Unavailable: it failed, or broke off a whole answer.
        """
        if upstream.status != 200:
            self._account.cost_nothing()
            await self._refused(upstream)
        if upstream.content_type == "text/event-stream":
            whole = await self.streamed.part(upstream)
            if whole and self.streamed.over and self._recorder is not None:
                self._recorder.done(self._account.usage, 0)
        elif self._several:  # streams, which were asked for, and this is none
            raise _unreadable()
        else:
            await self._whole(upstream)

    async def part(self, upstream: Answer) -> dict[str, Any]:
        """The answer to a part of the request; what it cost is in the account.

        Raises:
            InvalidInput, NotFound, Unavailable: as `answer`.
        """
        if upstream.status != 200:
            self._account.cost_nothing()
            await self._refused(upstream)
        try:
            answer = _object(await upstream.read())
        except _BROKEN as error:
            raise Unavailable("the engine broke off its answer", retry_after=2.0) from error
        self._sound(answer)
        try:
            self._account.usage.take(read_counts(answer.get("usage")))
        except Unusable as error:
            raise _unreadable() from error
        self._account.part()
        return answer

    async def together(self, answers: Sequence[dict[str, Any]], parts: Sequence[Call]) -> None:
        """Pass on the answers to all parts as one.

        Raises:
            Unavailable: they are no answers.
        """
        try:
            answer = put_together(answers, parts)
        except (LookupError, TypeError) as error:
            raise _unreadable() from error
        await self._pass_on(self._shown(answer), 200)

    async def _refused(self, upstream: Answer) -> NoReturn:
        """Say whose fault it is: the client's own comes in the engine's words, without its places.

        Raises:
            InvalidInput: what the client sent is refused.
            NotFound: the engine does not have the endpoint.
            NotLoaded: it does not have the adapter.
            Unavailable: anything else is between the gateway and its engine.
        """
        try:
            body = await upstream.read()
        except _BROKEN as error:
            raise Unavailable("the engine broke off its answer", retry_after=2.0) from error
        status = upstream.status
        said = message(body.decode(errors="replace")).replace(self._model, self._target.ref)
        if status == 400 and _is_missing(body) and self._target.release is not None:
            raise NotLoaded(f"the engine does not hold `{self._target.ref}`", retry_after=1.0)
        if status in (400, 422) and b'"error"' in body:
            raise InvalidField(said or "the engine refused the request", param=_param(body))
        if status == 413:
            raise TooLarge("the request is larger than the engine takes")
        if self._call.endpoint is EMBEDDINGS and status in _NO_EMBEDDINGS:
            raise NotFound(
                f"`{self._target.ref}` makes no embeddings: its base generates text",
                hint="`GET /v1/models` lists the others; a base that makes them has them",
            )
        if status == 404 and b'"error"' in body and self._model == self._target.digest:
            raise NotLoaded(f"the engine does not hold `{self._target.ref}`", retry_after=1.0)
        if status in (404, 405, 501):
            raise NotFound(f"`{self._target.ref}` does not offer `{self._call.endpoint.path}`")
        _log.error("the engine answered %d: %s", status, said)
        wait = upstream.header("retry-after")
        busy = float(wait) if status == 429 and wait.isdecimal() and len(wait) < 4 else 1.0
        what = "is busy" if status == 429 else "failed to answer"
        raise Unavailable(f"the engine {what}", retry_after=busy)

    async def _whole(self, upstream: Answer) -> None:
        try:
            body = await upstream.read()
        except _BROKEN as error:
            raise Unavailable("the engine broke off its answer", retry_after=2.0) from error
        await self._pass_on(self._rewritten(body), upstream.status)

    async def _pass_on(self, body: bytes, status: int) -> None:
        await self._account.close(status)
        await _send_head(self._send, self._receipt, status, "application/json", length=len(body))
        await self._send({"type": "http.response.body", "body": body})
        if self._recorder is not None and status == 200:
            self._recorder.done(self._account.usage, len(body))

    def _rewritten(self, body: bytes) -> bytes:
        """The answer with the client's model name, once its counts are read."""
        answer = _object(body)
        if self._call.endpoint.free:
            self._account.cost_nothing()
        with contextlib.suppress(Unusable):  # charged at its most, and counted
            self._account.usage.take(read_counts(answer.get("usage")))
        self._sound(answer)
        return self._shown(answer)

    def _sound(self, answer: dict[str, Any]) -> None:
        """Refuse to pass on what the engine says of its own failure as an answer.

        What it counts for that is charged; if it counts nothing, nothing is, as for a failure that
        it says by its status.

        Raises:
            Unavailable: it failed, with a status of 200.
        """
        said = failure(answer)
        if said is not None:
            _log.error("the engine failed, with a status of 200: %s", said)
            try:
                self._account.usage.take(read_counts(answer.get("usage")))
            except Unusable:
                self._account.cost_nothing()
            raise Unavailable("the engine failed to answer", retry_after=1.0)

    def _shown(self, answer: dict[str, Any]) -> bytes:
        """A whole answer as the client gets it."""
        rename(answer, self._model, self._target.ref)
        if self._recorder is not None:
            self._recorder.whole(answer)
        try:
            return to_json(self._call.endpoint.shape(answer, time.monotonic() - self._began))
        except (LookupError, TypeError) as error:
            raise _unreadable() from error


def _object(body: bytes) -> dict[str, Any]:
    """An answer's JSON object.

    Raises:
        Unavailable: it is none.
    """
    try:
        answer = from_json(body)
    except ValueError as error:
        raise _unreadable() from error
    if not isinstance(answer, dict):
        raise _unreadable()
    return answer


def _unreadable() -> Unavailable:
    return Unavailable("the engine's answer cannot be read", retry_after=1.0)


def _rewriter(
    account: Account, model: str, shown: str, recorder: Recorder | None, part: Call, piece: Piece
) -> Rewriter:
    """Of one part's stream.

    Args:
        shown: the model's name for the client.
    """
    listen = None if recorder is None else recorder.event
    dialect = part.endpoint.dialect
    return Rewriter(part.asked, dialect, model, shown, account.usage, listen, piece)


async def _send_head(
    send: Send, receipt: Receipt, status: int, content_type: str, length: int | None = None
) -> None:
    headers = [(b"content-type", content_type.encode())]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    if content_type.startswith("text/event-stream"):
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    headers += [
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in receipt.headers().items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def answer_error(send: Send, error: Unavailable, receipt: Receipt, call: Call) -> None:
    """Answer with an error where nothing was answered yet."""
    body = error_body(error, anthropic=call.endpoint.anthropic)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **receipt.headers(),
        **error_headers(error),
    }
    await send(
        {
            "type": "http.response.start",
            "status": shape_of(error).status,
            "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _is_missing(body: bytes) -> bool:
    """Whether our plugin says that the adapter is not there; not a text that a client has echoed.

    Anthropic's errors, which name no field, have only the message to tell.
    """
    try:
        error = from_json(body)["error"]
        named = error.get("param", PARAMETER) == PARAMETER
        return named and str(error["message"]).startswith(MISSING)
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _param(body: bytes) -> str | None:
    """The field that the engine's refusal names, if it names one."""
    try:
        param = from_json(body)["error"]["param"]
    except (ValueError, LookupError, TypeError):
        return None
    return param if isinstance(param, str) and len(param) < 200 else None
