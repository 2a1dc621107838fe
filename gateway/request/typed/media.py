"""What a request may make an engine fetch or compile: nothing from elsewhere, nothing without end.

Invariant: no address of a client's reaches an engine, which would fetch it from where it stands,
behind the walls that keep the client out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

MOST_GRAMMAR = 65_536  # characters of a schema, grammar or expression, as JSON
_PLACES = ("image_url", "video_url", "audio_url", "file_url", "url")


def brought(items: Iterable[Any]) -> None:
    """Check that turns bring their pictures, sounds and files as `data:` URLs.

    Raises:
        ValueError: one names a place.
    """
    left = list(items)
    while left:
        item = left.pop()
        if not isinstance(item, dict):
            continue
        for name in _PLACES:
            value = item.get(name)
            url = value.get("url") if isinstance(value, dict) else value
            if isinstance(url, str) and not url.lower().startswith("data:"):
                raise ValueError(
                    f"should bring what `{name}` names as a `data:` URL: the engine fetches nothing"
                )
        left.append(item.get("source"))
        for name in ("content", "output"):
            inner = item.get(name)
            left += inner if isinstance(inner, list) else [inner]


def bounded(value: dict[str, Any]) -> dict[str, Any]:
    """Check that what an engine compiles is no longer than `MOST_GRAMMAR`.

    Raises:
        ValueError: it is.
    """
    if len(json.dumps(value, ensure_ascii=False)) > MOST_GRAMMAR:
        raise ValueError(f"should be at most {MOST_GRAMMAR} characters of JSON")
    return value


def compiled(tools: Iterable[Any], *, forced: bool) -> None:
    """Check what an engine compiles of tools: all where a call is forced, else the strict ones.

    Source: vLLM 0.32, `ToolParser.adjust_request` and `structural_tag_registry.py`.

    Raises:
        ValueError: that has no bound.
    """
    taken = [
        # What it is for is told to the model; it is no part of a grammar.
        {name: value for name, value in tool.items() if name != "description"}
        for tool in tools
        if isinstance(tool, dict) and (forced or _strict(tool))
    ]
    if taken and len(json.dumps(taken, ensure_ascii=False)) > MOST_GRAMMAR:
        raise ValueError(
            f"should be at most {MOST_GRAMMAR} characters of JSON where a call is forced or strict"
        )


def _strict(tool: dict[str, Any]) -> bool:
    """Whether its calls are held to its schema; one with a grammar, or with tools in it, may be."""
    function = tool.get("function")
    inner = function if isinstance(function, dict) else tool
    return bool(inner.get("strict")) or tool.get("type") in ("custom", "namespace")
