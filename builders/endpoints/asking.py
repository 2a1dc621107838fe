"""Chats sent to an endpoint, several at a time, and what it said to each.

Invariant: an answer is text with a reason for its end, or the whole call fails: no row is left out
unseen. What is busy (429, 5xx, a connection that breaks) is asked again as it says itself; what is
refused is not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from adapterworks.builders.endpoints.endpoint import Endpoint
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
_OVERHEAD = 64  # tokens of a template around the turns
# Parameters that some models know by another name, or not at all: models that reason take
# `max_completion_tokens`, and no temperature but their own.
_OTHERWISE = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


@dataclass(frozen=True, slots=True)
class Chat:
    """One question.

    Attributes:
        messages: turns in OpenAI's form.
        max_tokens: longest answer.
        tools: functions that may be called, in OpenAI's form.
        temperature: 0 is the likeliest answer.
        seed: of the draws, for endpoints that know one.
        top_p: of the draws; 1 draws from all tokens.
    """

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    tools: Sequence[Mapping[str, Any]] = ()
    temperature: float = 0.0
    seed: int | None = None
    top_p: float = 1.0

    @property
    def most_prompt(self) -> int:
        """Tokens that it can be read as: no tokenizer makes more of a text than it has bytes."""
        return sum(len(str(turn["content"]).encode()) for turn in self.messages) + _OVERHEAD

    @property
    def most_tokens(self) -> int:
        """Tokens that it can cost, with its answer."""
        return self.most_prompt + self.max_tokens

    def fields(self) -> dict[str, Any]:
        """Of the request, but for the model."""
        given: dict[str, Any] = {
            "messages": list(self.messages),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.tools:
            given["tools"] = list(self.tools)
        if self.seed is not None:
            given["seed"] = self.seed
        if self.top_p != 1.0:
            given["top_p"] = self.top_p
        return given


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        text: what was said; empty where it only calls tools.
        cut: it ended because it was too long.
        prompt_tokens, completion_tokens: as the endpoint counts them; 0 where it does not say.
        tool_calls: what it calls, in OpenAI's form.
        lost: how often it was sent before and may have been answered, and billed, unheard.
    """

    text: str
    cut: bool
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    lost: int = 0

    def spent(self, chat: Chat) -> tuple[int, int]:
        """Tokens of prompt and answer; where the endpoint does not count, or was not heard, the
        most that they can have been."""
        most = chat.most_prompt, chat.max_tokens
        counted = self.prompt_tokens + self.completion_tokens
        heard = (self.prompt_tokens, self.completion_tokens) if counted else most
        return heard[0] + self.lost * most[0], heard[1] + self.lost * most[1]

    def cost(self, chat: Chat) -> int:
        """Its tokens, of both together."""
        return sum(self.spent(chat))


Again = Callable[[Chat], bool]
"""Whether a chat may be sent, and cost, once more."""


class Unaffordable(Exception):
    """`again` allows no other try of a chat, though nothing else is under way."""


@dataclass(slots=True)
class _NoRoom(Exception):
    """A chat was sent so often, perhaps billed, and may not be sent again as yet."""

    lost: int
    why: str


@dataclass(slots=True)
class _Spelling:
    """How this endpoint wants its parameters; learnt from its first refusal."""

    changed: dict[str, str | None] = field(default_factory=dict)

    def of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        named = {self.changed.get(key, key): value for key, value in fields.items()}
        return {key: value for key, value in named.items() if key is not None}

    def learn(self, sent: Mapping[str, Any], answer: bytes) -> bool:
        """Whether a refusal names a parameter that can be said otherwise."""
        try:
            said = json.loads(answer)["error"]
            name = said.get("param") or ""
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        # One that was sent at the same time may have learnt it meanwhile.
        if name not in _OTHERWISE or name not in sent:
            return False
        self.changed[name] = _OTHERWISE[name]
        return True


def ask_endpoint(
    endpoint: Endpoint,
    chats: Sequence[Chat],
    *,
    parallel: int = PARALLEL,
    progress: Progress | None = None,
    heard: Callable[[int, Said], None] | None = None,
    again: Again | None = None,
) -> list[Said]:
    """An answer to each chat, in their order.

    Args:
        parallel: requests at once.
        heard: called with the number of a chat and its answer as soon as it is there.
        again: asked before one is sent again that may have been billed; it always is if not given.
            One that may not is put off until all others are answered, and then asked for once more.

    Raises:
        Unaffordable: `again` allows no further try; what was heard is told.
        Refused: the endpoint does not take a request.
        Unavailable: it does not answer, or with something that is no answer.
    """
    return asyncio.run(_ask_all(endpoint, chats, parallel, progress, heard, again))


def require_answering(endpoint: Endpoint) -> None:
    """Ask one token, so that a wrong key or name is known before anything long begins.

    Raises: as `ask_endpoint`.
    """
    ask_endpoint(endpoint, [Chat([{"role": "user", "content": "Say yes."}], 16)])


async def _ask_all(
    endpoint: Endpoint,
    chats: Sequence[Chat],
    parallel: int,
    progress: Progress | None,
    heard: Callable[[int, Said], None] | None,
    again: Again | None,
) -> list[Said]:
    import httpx2

    headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    times = httpx2.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
    spelling, waiting = _Spelling(), iter(enumerate(chats))
    answers: dict[int, Said] = {}
    put_off: dict[int, _NoRoom] = {}

    async def one(number: int, chat: Chat, lost: int = 0) -> None:
        said = await _ask(client, endpoint, chat, spelling, again, lost)
        answers[number] = said
        if heard:
            heard(number, said)
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
                if again is not None and not again(chats[number]):
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
    chat: Chat,
    spelling: _Spelling,
    again: Again | None,
    lost: int,
) -> Said:
    import httpx2

    wait, why = _FIRST_WAIT, ""
    for _ in range(_TRIES):
        fields = spelling.of(chat.fields())
        hinted: str | None = None
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
            if response.status_code == 400 and spelling.learn(fields, response.content):
                continue
            if response.status_code not in (408, 409, 429) and response.status_code < 500:
                raise Refused(
                    f"`{endpoint.host}` refused to answer as `{endpoint.model}` ({why})",
                    hint="name the variable that holds its key with `--key-env`"
                    if response.status_code in (401, 403)
                    else "see that the address ends before `/chat/completions`, and the model's "
                    "name is one that it has",
                )
            hinted = response.headers.get("retry-after")
        lost += billed
        if billed and again is not None and not again(chat):
            raise _NoRoom(lost, f"`{endpoint.host}` did not answer ({why}), and may have billed it")
        await asyncio.sleep(_wait(hinted, wait))
        wait = min(_MOST_WAIT, wait * 2)
    raise Unavailable(f"`{endpoint.host}` did not answer {_TRIES} times, at last: {why}")


def _said(endpoint: Endpoint, data: bytes) -> Said:
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message, usage = choice["message"], body.get("usage") or {}
        text, calls = message.get("content"), message.get("tool_calls") or ()
        counts = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
        if not isinstance(text, str | None) or not all(isinstance(n, int) for n in counts):
            raise TypeError("its content is no text, or its usage no numbers")
        cut = choice.get("finish_reason") == "length"
        return Said(text or "", cut, max(0, counts[0]), max(0, counts[1]), tuple(calls))
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
