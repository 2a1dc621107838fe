"""An engine fetches nothing that a client names, and compiles nothing without a bound."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.request.typed.media import MOST_GRAMMAR
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
    output = {"type": "function_call_output", "call_id": "1", "output": [inputs[0]]}
    return [
        *(("chat", _chat(part), "messages") for part in parts),
        ("messages", _chat(source), "messages"),
        ("messages", _chat(result), "messages"),
        ("count", _chat(source), "messages"),
        *(("responses", {"input": [{"role": "user", "content": [i]}]}, "input") for i in inputs),
        ("responses", {"input": [output]}, "input"),
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
