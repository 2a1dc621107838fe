"""An engine fetches nothing that a client names, and compiles nothing without a bound."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.request.typed.media import MOST_GRAMMAR
from adapterworks.gateway.request.typed.values import MOST_TOOLS
from tests.gateway.request.test_edge import param, understood

PLACES = (
    "http://169.254.169.254/latest/meta-data",
    "https://example.org/a.png",
    "file:///etc/passwd",
    "ftp://10.0.0.1/x",
    " data:image/png;base64,AAAA",
    "//10.0.0.1/x",
    "",
)
PICTURE = "data:image/png;base64,AAAA"


def _chat(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]}


def _forms(url: str) -> list[tuple[str, dict[str, Any], str]]:
    """Every way to name a place: the endpoint, its fields, the field to blame."""
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": url},
        {"type": "video_url", "video_url": {"url": url, "detail": "high"}},
        {"type": "audio_url", "audio_url": {"url": url}},
        {"image_url": url},
    ]
    source = {"type": "image", "source": {"type": "url", "url": url}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [source]}
    inputs = (
        {"type": "input_image", "image_url": url},
        {"type": "input_file", "file_url": url},
    )
    shot = {"type": "computer_screenshot", "image_url": url}
    screen = {"type": "computer_call_output", "call_id": "1", "output": shot}
    output = {"type": "function_call_output", "call_id": "1", "output": [inputs[0]]}
    return [
        *(("chat", _chat(part), "messages") for part in parts),
        ("messages", _chat(source), "messages"),
        ("messages", _chat(result), "messages"),
        ("count", _chat(source), "messages"),
        *(("responses", {"input": [{"role": "user", "content": [i]}]}, "input") for i in inputs),
        ("responses", {"input": [output]}, "input"),
        ("responses", {"input": [screen]}, "input"),
    ]


@pytest.mark.parametrize("place", PLACES)
def test_no_place_of_a_clients_reaches_an_engine(place: str) -> None:
    for name, fields, blamed in _forms(place):
        assert param(name, **fields) == blamed


def test_what_the_request_brings_itself_passes() -> None:
    for url in (PICTURE, PICTURE.replace("data:", "DATA:")):
        for name, fields, _ in _forms(url):
            understood(name, **fields)
    # Words are no places.
    understood("chat", messages=[{"role": "user", "content": "see http://example.org/a.png"}])
    understood("responses", input="file:///etc/passwd")


def _schema(size: int) -> dict[str, Any]:
    return {"type": "object", "description": "x" * size}


def test_what_is_compiled_has_a_bound() -> None:
    for size, fits in ((100, True), (MOST_GRAMMAR, False)):
        schema = _schema(size)
        wrapped = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        named = {"type": "json_schema", "name": "a", "schema": schema}
        forms = (
            ("chat", "response_format", wrapped),
            ("completions", "response_format", wrapped),
            ("chat", "structured_outputs", {"json": schema}),
            ("chat", "structured_outputs", {"regex": "a" * size}),
            ("responses", "structured_outputs", {"grammar": "a" * size}),
            (
                "responses",
                "text",
                {"format": named},
            ),
            ("messages", "output_config", {"format": {"type": "json_schema", "schema": schema}}),
        )
        for name, field, value in forms:
            if fits:
                understood(name, **{field: value})
            else:
                assert param(name, **{field: value}) == field


def _tools(kind: str, size: int, *, strict: bool = False) -> list[dict[str, Any]]:
    """Two tools whose schemas have so many characters together, in the words of an endpoint."""
    schema = _schema(size // 2)
    more = {"strict": True} if strict else {}
    if kind == "chat":
        return [
            {"type": "function", "function": {"name": name, "parameters": schema, **more}}
            for name in "ab"
        ]
    if kind == "messages":
        return [{"name": name, "input_schema": schema, **more} for name in "ab"]
    return [{"type": "function", "name": name, "parameters": schema, **more} for name in "ab"]


_FORCED = (
    ("chat", "required"),
    ("chat", {"type": "function", "function": {"name": "a"}}),
    ("responses", "required"),
    ("responses", {"type": "function", "name": "a"}),
    ("responses", {"type": "allowed_tools", "mode": "required", "tools": []}),
    ("messages", {"type": "any"}),
    ("messages", {"type": "tool", "name": "a"}),
)
_FREE = (
    ("chat", "auto"),
    ("chat", None),
    ("responses", "auto"),
    ("responses", None),
    ("messages", {"type": "auto"}),
    ("messages", None),
)
_NONE = (("chat", "none"), ("responses", "none"), ("messages", {"type": "none"}))


@pytest.mark.parametrize(("kind", "choice"), _FORCED)
def test_tools_that_must_be_called_are_compiled_and_have_a_bound(kind: str, choice: Any) -> None:
    assert param(kind, tools=_tools(kind, MOST_GRAMMAR), tool_choice=choice) == "tools"
    understood(kind, tools=_tools(kind, 1000), tool_choice=choice)
    # What they are for is no grammar.
    described = [{**tool, "description": "x" * MOST_GRAMMAR} for tool in _tools(kind, 1000)]
    understood(kind, tools=described, tool_choice=choice)


@pytest.mark.parametrize(("kind", "choice"), _FREE)
def test_tools_that_may_be_called_are_compiled_if_they_are_strict(kind: str, choice: Any) -> None:
    understood(kind, tools=_tools(kind, MOST_GRAMMAR), tool_choice=choice)
    strict = _tools(kind, MOST_GRAMMAR, strict=True)
    assert param(kind, tools=strict, tool_choice=choice) == "tools"
    understood(kind, tools=_tools(kind, 1000, strict=True), tool_choice=choice)


@pytest.mark.parametrize(("kind", "choice"), _NONE)
def test_tools_that_may_not_be_called_are_not_compiled(kind: str, choice: Any) -> None:
    understood(kind, tools=_tools(kind, MOST_GRAMMAR, strict=True), tool_choice=choice)


def test_a_tool_with_a_grammar_or_with_tools_in_it_has_a_bound() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "a" * MOST_GRAMMAR}
    for tool in (
        {"type": "custom", "name": "a", "format": grammar},
        {"type": "namespace", "name": "a", "tools": _tools("responses", MOST_GRAMMAR)},
    ):
        assert param("responses", tools=[tool]) == "tools"


def _adding(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose system turn defines tools on the way."""
    blocks = [
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}
        for tool in tools
    ]
    return [{"role": "user", "content": "hello"}, {"role": "system", "content": blocks}]


def test_tools_that_a_turn_adds_are_tools() -> None:
    """They make tokens that no event shows, and are compiled, as those of the request."""
    forced = {"type": "any"}
    large, small = _tools("messages", MOST_GRAMMAR), _tools("messages", 1000)
    assert param("messages", messages=_adding(large), tool_choice=forced) == "tools"
    half = _tools("messages", MOST_GRAMMAR * 3 // 4)
    assert param("messages", messages=_adding(half), tools=half, tool_choice=forced) == "tools"
    assert understood("messages", messages=_adding(small), tool_choice=forced).asked.hidden
    assert not understood("messages").asked.hidden
    many = small[:1] * (MOST_TOOLS // 2 + 1)
    assert param("messages", messages=_adding(many), tools=many) == "tools"


@pytest.mark.parametrize("block", [5, {}, {"type": "tool_addition"}, {"tool": 5}, {"tool": {}}])
def test_what_adds_no_tool_is_the_engines_to_judge(block: Any) -> None:
    odd = {"type": "tool_addition", **block} if isinstance(block, dict) else block
    call = understood("messages", messages=[{"role": "system", "content": [odd]}])
    assert not call.asked.hidden
