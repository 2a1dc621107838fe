"""Chats sent to an endpoint, several at a time, and what it said to each.

Invariant: an answer is text with a reason for its end, or says why there is none for this chat
(`declining.py`), or the whole call fails: no row is left out unseen. What is busy (429, 5xx, a
connection that breaks) is asked again as it says itself; what is refused is not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adapterworks.builders.endpoints.account import Account, Free, Unaffordable
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.declining import declined
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.spelling import Spelling
from adapterworks.manifests.errors import Refused, Unavailable

if TYPE_CHECKING:
    import httpx2

# Called with (done, total) as answers come.
Progress = Callable[[int, int], None]

PARALLEL = 8
_TRIES = 8
_FIRST_WAIT, _MOST_WAIT = 1.0, 60.0
_SECONDS, _CONNECT_SECONDS = 600.0, 10.0
# What may have been answered by a model behind it: a proxy that gave up, a fault after the answer.
_MAYBE_BILLED = frozenset({408, 500, 502, 504})


@dataclass(slots=True)
class _NoRoom(Exception):
    """A chat was sent so often, perhaps billed, and may not be sent again as yet."""

    lost: int
    why: str


def ask_endpoint(
    endpoint: Endpoint,
    chats: Sequence[Chat],
    *,
    parallel: int = PARALLEL,
    progress: Progress | None = None,
    account: Account | None = None,
) -> list[Answer]:
    """An answer to each chat, in their order.

    Args:
        parallel: requests at once.
        account: asked before one is sent again that may have been billed; it always is if not
            given. One that may not is put off until all others are answered, and then asked for
            once more.

    Raises:
        Unaffordable: the account allows no further try; what was heard is told.
        Refused: the endpoint does not take a request.
        Unavailable: it does not answer, or with something that is no answer.
    """
    return asyncio.run(_ask_all(endpoint, chats, parallel, progress, account or Free()))


def require_answering(endpoint: Endpoint) -> None:
    """Ask one token, so that a wrong key or name is known before anything long begins.

    Raises: as `ask_endpoint`.
    """
    (said,) = ask_endpoint(endpoint, [Chat([{"role": "user", "content": "Say yes."}], 16)])
    if said.declined:
        raise _refused(endpoint, said.declined)


async def _ask_all(
    endpoint: Endpoint,
    chats: Sequence[Chat],
    parallel: int,
    progress: Progress | None,
    account: Account,
) -> list[Answer]:
    import httpx2

    headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    times = httpx2.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
    spelling, waiting = Spelling(), iter(enumerate(chats))
    answers: dict[int, Answer] = {}
    put_off: dict[int, _NoRoom] = {}

    async def one(number: int, chat: Chat, lost: int = 0) -> None:
        said = await _ask(client, endpoint, (number, chat), spelling, account, lost)
        answers[number] = said
        account.heard(number, said)
        if progress:
            progress(len(answers), len(chats))

    async def work() -> None:
        for number, chat in waiting:
            try:
                await one(number, chat)
            except _NoRoom as none:
                put_off[number] = none

    async def ask_put_off() -> None:
        for number, none in sorted(put_off.items(), key=lambda item: item[0]):
            try:
                if not account.again(number):
                    raise none
                await one(number, chats[number], none.lost)
            except _NoRoom as last:
                raise Unaffordable(last.why) from None

    try:
        async with httpx2.AsyncClient(headers=headers, timeout=times) as client:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(parallel, len(chats))):
                    group.create_task(work())
            await ask_put_off()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [answers[number] for number in range(len(chats))]


async def _ask(
    client: httpx2.AsyncClient,
    endpoint: Endpoint,
    asked: tuple[int, Chat],
    spelling: Spelling,
    account: Account,
    lost: int,
) -> Answer:
    import httpx2

    (number, chat), wait, why = asked, _FIRST_WAIT, ""
    for _ in range(_TRIES):
        fields = spelling.of(chat.fields())
        hinted: str | None = None
        response = None
        account.sent(number)
        try:
            response = await client.post(
                f"{endpoint.url}/chat/completions", json={"model": endpoint.model, **fields}
            )
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            unsent = httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout
            billed = not isinstance(error, unsent)
        else:
            if response.status_code == 200:
                return replace(_said(endpoint, response.content), lost=lost)
            billed = response.status_code in _MAYBE_BILLED
            why = f"{response.status_code}: {_text(response.content)}"
            hinted = response.headers.get("retry-after")
        if not billed:
            account.unbilled(number)
        if response is not None and response.status_code < 500:
            if response.status_code == 400 and spelling.learn(fields, response.content):
                continue
            if declined(response.status_code, response.content):
                return Answer("", False, 0, 0, lost=lost, declined=why)
            if response.status_code not in (408, 409, 429):
                raise _refused(endpoint, why)
        lost += billed
        if billed and not account.again(number):
            raise _NoRoom(lost, f"`{endpoint.host}` did not answer ({why}), and may have billed it")
        await asyncio.sleep(_wait(hinted, wait))
        wait = min(_MOST_WAIT, wait * 2)
    raise Unavailable(f"`{endpoint.host}` did not answer {_TRIES} times, at last: {why}")


def _refused(endpoint: Endpoint, why: str) -> Refused:
    """An endpoint that takes no chat of ours; `why` begins with its status."""
    return Refused(
        f"`{endpoint.host}` refused to answer as `{endpoint.model}` ({why})",
        hint="name the variable that holds its key with `--key-env`"
        if why.startswith(("401", "403"))
        else "see that the address ends before `/chat/completions`, and the model's name is one "
        "that it has",
    )


def _said(endpoint: Endpoint, data: bytes) -> Answer:
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message, usage = choice["message"], body.get("usage") or {}
        text, calls = message.get("content"), message.get("tool_calls") or ()
        counts = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
        if not isinstance(text, str | None) or not all(isinstance(n, int) for n in counts):
            raise TypeError("its content is no text, or its usage no numbers")
        cut = choice.get("finish_reason") == "length"
        return Answer(text or "", cut, max(0, counts[0]), max(0, counts[1]), tuple(calls))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unavailable(
            f"what `{endpoint.host}` answered is no chat completion ({error}): {_text(data)}"
        ) from error


def _text(data: bytes) -> str:
    """The beginning of an answer, on one line and fit for a terminal."""
    shown = " ".join(data.decode("utf-8", "replace").split())[:300]
    return "".join(c if c.isprintable() else "�" for c in shown)


def _wait(retry_after: str | None, otherwise: float) -> float:
    """Seconds until it is asked again."""
    try:
        return min(_MOST_WAIT, max(0.0, float(retry_after or otherwise)))
    except ValueError:  # a date
        return otherwise
