"""The values that request fields are made of: strict types with bounds, and how they are checked.

Invariant: a number that passes here fits what it is used for (arithmetic, the engine's C types), so
nothing behind the edge has to ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from adapterworks.gateway.request.typed.media import bounded, brought

MOST_TOKENS = 2**31 - 1
MOST_CHOICES = 128  # OpenAI's bound on `n`
MOST_PROMPTS = 1024  # vLLM's, of one request
MOST_NAME = 200  # the longest ref is shorter: NAME@sha256:…
MOST_TOOLS = 256
_INT64 = 2**63

Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
SomeTokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
TokenId = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
TokenIds = Annotated[list[TokenId], Field(max_length=100_000)]
Choices = Annotated[int, Field(ge=1, le=MOST_CHOICES)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=100)]
Factor = Annotated[float, Field(ge=-100, le=100)]
TopK = Annotated[int, Field(ge=-1, le=MOST_TOKENS)]
Top = Annotated[int, Field(ge=-1, le=100_000)]
Seed = Annotated[int, Field(ge=-_INT64, le=_INT64 - 1)]
Object = dict[str, Any]
Objects = Annotated[list[Object], Field(max_length=10_000)]
Texts = Annotated[list[str], Field(max_length=1_000)]
Biases = Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=10_000)]
ModelName = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]
EndUser = Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")]
Side = Literal["left", "right"]


def _stop(value: Any) -> str | list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("should be a text or a list of texts")
    if len(texts) > 64:
        raise ValueError("should be at most 64 texts")
    found: str | list[str] = value
    return found


def _messages(value: list[Object]) -> list[Object]:
    if not value:
        raise ValueError("should have at least one message")
    for number, message in enumerate(value):
        if not isinstance(message.get("role"), str):
            raise ValueError(f"should have a text as `role` of message {number}")
        content = message.get("content")
        if content is not None and not isinstance(content, (str, list)):
            raise ValueError(f"should have a text or a list as `content` of message {number}")
    brought(value)
    return value


def _tool_list(value: list[Object]) -> list[Object]:
    if not value:
        raise ValueError("should have at least one tool; leave it out where there is none")
    return value


def _chat_tools(value: list[Object]) -> list[Object]:
    for number, tool in enumerate(_tool_list(value)):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise ValueError(f"should be functions: tool {number} has no `function`")
        _named(function, f"tool {number}", "parameters")
    return value


def _messages_tools(value: list[Object]) -> list[Object]:
    for number, tool in enumerate(_tool_list(value)):
        _named(tool, f"tool {number}", "input_schema")
    return value


def _named(value: Mapping[str, Any], what: str, schema: str) -> None:
    if not isinstance(value.get("name"), str) or not value["name"]:
        raise ValueError(f"should have a text as `name` of {what}")
    if not isinstance(value.get(schema, {}), dict | None):
        raise ValueError(f"should have an object as `{schema}` of {what}")


def _chat_choice(value: Any) -> str | Object:
    if value in ("none", "auto", "required"):
        return str(value)
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(
            'should be "none", "auto", "required" or {"type": "function", "function": {"name": …}}'
        )
    found: Object = value
    return found


def _responses_choice(value: Any) -> str | Object:
    if isinstance(value, (str, dict)):
        return value
    raise ValueError("should be a text or an object")


def _response_format(value: Object) -> Object:
    kind = value.get("type")
    if kind not in ("text", "json_object", "json_schema", "structural_tag"):
        raise ValueError(
            'should have as `type` "text", "json_object", "json_schema" or "structural_tag"'
        )
    if kind == "json_schema":
        schema = value.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("schema", {}), dict):
            raise ValueError('should have an object as `json_schema`: {"name": …, "schema": {…}}')
    return bounded(value)


def _metadata(value: Object) -> Object:
    if len(value) > 64:
        raise ValueError("should have at most 64 entries")
    return value


def _prompt(value: Any) -> str | list[str] | list[int] | list[list[int]]:
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list) or not value:
        raise ValueError("should be a text, token ids, or a list of these, and not be empty")
    if _is_ids(value):
        ids: list[int] = value
        return ids
    if all(isinstance(item, str) for item in value) or all(
        isinstance(item, list) and item and _is_ids(item) for item in value
    ):
        if len(value) > MOST_PROMPTS:
            raise ValueError(f"should be at most {MOST_PROMPTS} prompts")
        several: list[str] | list[list[int]] = value
        return several
    raise ValueError("should be a text, token ids (0 to 2147483647), or a list of one kind")


def _is_ids(value: list[Any]) -> bool:
    return all(type(item) is int and 0 <= item <= MOST_TOKENS for item in value)


def _text_or_objects(value: Any) -> str | list[Object]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("should be a text or a list of objects")
    brought(value)
    return value


Stop = Annotated[str | list[str], PlainValidator(_stop)]
Messages = Annotated[Objects, AfterValidator(_messages)]
_Tools = Annotated[list[Object], Field(max_length=MOST_TOOLS)]
ChatTools = Annotated[_Tools, AfterValidator(_chat_tools)]
MessagesTools = Annotated[_Tools, AfterValidator(_messages_tools)]
ChatToolChoice = Annotated[str | Object, PlainValidator(_chat_choice)]
ResponsesToolChoice = Annotated[str | Object, PlainValidator(_responses_choice)]
ResponseFormat = Annotated[Object, AfterValidator(_response_format)]
Grammar = Annotated[Object, AfterValidator(bounded)]
Metadata = Annotated[Object, AfterValidator(_metadata)]
Prompt = Annotated[str | list[str] | list[int] | list[list[int]], PlainValidator(_prompt)]
TextOrObjects = Annotated[str | list[Object], PlainValidator(_text_or_objects)]


def prompts_in(value: str | list[str] | list[int] | list[list[int]]) -> int:
    """How many prompts a checked `prompt` holds; token ids are one."""
    return 1 if isinstance(value, str) or isinstance(value[0], int) else len(value)
