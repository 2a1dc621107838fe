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
            if isinstance(inner := item.get(name), list):
                left += inner


def bounded(value: dict[str, Any]) -> dict[str, Any]:
    """Check that what an engine compiles is no longer than `MOST_GRAMMAR`.

    Raises:
        ValueError: it is.
    """
    if len(json.dumps(value, ensure_ascii=False)) > MOST_GRAMMAR:
        raise ValueError(f"should be at most {MOST_GRAMMAR} characters of JSON")
    return value
