"""Which paths are relayed, and what a request to each of them is.

Invariant: an allow-list. Whatever steers the engine rather than the answer (cache salts, adapter
paths, key-value transfer, priorities, request ids) never passes; what was left out is named in the
answer's `x-adapter-ignored` header. A field whose loss would change the answer is refused instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from adapterworks.gateway.request.body import Body
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.request.typed.asked import Asked
from adapterworks.gateway.request.typed.chat import Chat
from adapterworks.gateway.request.typed.completions import Completion
from adapterworks.gateway.request.typed.embeddings import Embeddings
from adapterworks.gateway.request.typed.generate import Generate, as_generated
from adapterworks.gateway.request.typed.messages import CountTokens, Messages
from adapterworks.gateway.request.typed.refusals import (
    OF_CHAT,
    OF_COMPLETIONS,
    OF_EMBEDDINGS,
    OF_MESSAGES,
    OF_RESPONSES,
    Refusals,
)
from adapterworks.gateway.request.typed.responses import Responses
from adapterworks.gateway.request.typed.tokens import Detokenize, Tokenize
from adapterworks.manifests.errors import InvalidInput

T = TypeVar("T", bound=BaseModel)
Dialect = Literal["openai", "responses", "anthropic"]
"""Whose words an answer and its counts are in."""

# Sent by ordinary clients, without meaning for an engine: checked, and left out without a word.
_KEPT_BACK = frozenset(
    {"store", "metadata", "service_tier", "prompt_cache_key", "safety_identifier", "best_of"}
)


def _as_it_is(answer: dict[str, Any], seconds: float) -> dict[str, Any]:
    return answer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One relayed path.

    Attributes:
        path: ours; `asks` is the engine's, where it differs.
        type: what a request to it is.
        sent: the fields of the type that the engine is sent.
        refused: fields that cannot be left out without changing the answer.
        shape: makes our answer of the engine's and of the seconds that it took.
        generates: whether an answer is made, token by token.
        free: whether nothing is asked of the model itself.
        of_base: whether the base answers for its adapters, which need not be loaded for it.
    """

    path: str
    type: type[Asked]
    refused: Refusals
    dialect: Dialect = "openai"
    asks: str = ""
    shape: Callable[[dict[str, Any], float], dict[str, Any]] = _as_it_is
    generates: bool = True
    free: bool = False
    of_base: bool = False

    @property
    def engine_path(self) -> str:
        """Where the engine is asked."""
        return self.asks or self.path

    @property
    def usage_in_stream(self) -> bool:
        """Whether `stream_options` can ask for usage in every event."""
        return "stream_options" in self.type.model_fields

    @property
    def anthropic(self) -> bool:
        """Whether errors have Anthropic's shape."""
        return self.dialect == "anthropic"

    @property
    def sent(self) -> frozenset[str]:
        """The fields that reach the engine; those that only we read do not."""
        # Responses repeats `metadata` in its answer.
        back = _KEPT_BACK - {"metadata"} if self.dialect == "responses" else _KEPT_BACK
        return frozenset(self.type.model_fields) - back


CHAT = Endpoint("/v1/chat/completions", Chat, OF_CHAT)
COMPLETIONS = Endpoint("/v1/completions", Completion, OF_COMPLETIONS)
RESPONSES = Endpoint("/v1/responses", Responses, OF_RESPONSES, "responses")
MESSAGES = Endpoint("/v1/messages", Messages, OF_MESSAGES, "anthropic")
COUNT_TOKENS = Endpoint(
    "/v1/messages/count_tokens", CountTokens, OF_MESSAGES, "anthropic", generates=False, free=True
)
EMBEDDINGS = Endpoint("/v1/embeddings", Embeddings, OF_EMBEDDINGS, generates=False)
TOKENIZE = Endpoint("/tokenize", Tokenize, {}, generates=False, free=True, of_base=True)
DETOKENIZE = Endpoint("/detokenize", Detokenize, {}, generates=False, free=True, of_base=True)
ENDPOINTS = (
    *(CHAT, COMPLETIONS, RESPONSES, MESSAGES, COUNT_TOKENS, EMBEDDINGS),
    *(TOKENIZE, DETOKENIZE),
)
GENERATE = Endpoint("/generate", Chat, {}, asks=CHAT.path, shape=as_generated)
_SENT = {id(endpoint): endpoint.sent for endpoint in (*ENDPOINTS, GENERATE)}


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood.

    Attributes:
        asked: what the gateway decides by.
        payload: the client's JSON, reduced to what the engine may be sent; nobody here reads it.
        ignored: names of what was left out.
        size: bytes of the client's body.
    """

    endpoint: Endpoint
    asked: Asked
    payload: dict[str, Any]
    ignored: tuple[str, ...]
    size: int


def parse(endpoint: Endpoint, body: Body, *, default: str | None = None) -> Call:
    """Understand a request.

    Args:
        default: the adapter of a `/generate` that names none.

    Raises:
        InvalidField: a field is mistyped, out of range, contradicts another, or cannot be honoured.
        InvalidInput: a number in what we do not read ourselves is out of range.
    """
    values = {name: value for name, value in body.values.items() if value is not None}
    if endpoint is GENERATE:
        if default is not None:
            values.setdefault("adapter", default)
        values = _checked(Generate, values).as_chat()
    for name in sorted(values.keys() & endpoint.refused.keys()):
        refusal = endpoint.refused[name]
        if refusal.meets(values[name]):
            raise InvalidField(f"`{name}` is not supported", param=name, hint=refusal.hint)
    asked = _checked(endpoint.type, values)
    asked.check()
    if body.oversized:
        raise InvalidInput("the body holds an integer that is out of range")
    sent = _SENT[id(endpoint)]
    known = endpoint.type.model_fields.keys() | endpoint.refused.keys()
    return Call(
        endpoint,
        asked,
        {name: value for name, value in values.items() if name in sent},
        tuple(sorted(values.keys() - known)),
        body.size,
    )


def _checked(type_: type[T], values: dict[str, Any]) -> T:
    try:
        return type_.model_validate(values)
    except ValidationError as error:
        raise _named(error) from error


def _named(error: ValidationError) -> InvalidField:
    """The first fault, with the field's name."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    names = [str(part)[:100] for part in fault["loc"]]
    field = ".".join(names) or "body"
    param = names[0] if names else None
    models = "`GET /v1/models` lists the models you may use"
    if fault["type"] == "missing":
        hint = models if field in ("model", "adapter") else None
        return InvalidField(f"`{field}` is missing", param=param, hint=hint)
    if fault["type"] == "extra_forbidden":
        fields = ", ".join(sorted(Generate.model_fields))
        return InvalidField(f"unknown field `{field}`", param=param, hint=f"fields are {fields}")
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return InvalidField(f"`{field}` {message[:1].lower()}{message[1:]}", param=param)
