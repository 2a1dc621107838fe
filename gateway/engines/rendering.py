"""Whether an engine elsewhere makes the same prompts of conversations as the base does here.

It is asked for the token ids of a conversation, which its own template renders, and for those of
the text that the base's template makes of it. One tokenizer, so equal texts are equal ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic_core import from_json

from adapterworks.registry.bases.rendering import Rendering

Ask = Callable[[str, dict[str, Any]], Awaitable[tuple[int, str]]]
"""A path and a body; the status and the text of the answer."""


async def renders_alike(ask: Ask, model: str, known: Sequence[Rendering]) -> bool | None:
    """Whether an engine renders conversations as the base's template does here.

    Args:
        ask: posts a JSON object to one of the engine's paths.
        model: what the engine calls the base.
        known: what the template makes of some conversations here.

    Returns:
        None where it cannot be told: nothing is known, the engine tokenizes nothing, or the
        template writes the date.
    """
    if not known:
        return None
    for one in known:
        turns = [dict(turn) for turn in one.turns]
        by_text = await _ids(ask, {"model": model, "prompt": one.text, "add_special_tokens": False})
        if not isinstance(by_text, list):  # it tokenizes nothing
            return None
        by_template = await _ids(
            ask, {"model": model, "messages": turns, "add_generation_prompt": True}
        )
        if by_template is None:
            return None
        if by_template != by_text:
            return None if one.dated else False
    return True


async def _ids(ask: Ask, body: dict[str, Any]) -> list[int] | str | None:
    """Token ids, the words of a refusal, or None if it does neither."""
    status, text = await ask("/tokenize", body)
    if status in (400, 422):
        return text
    try:
        ids = from_json(text)["tokens"] if status == 200 else None
    except (ValueError, LookupError, TypeError):
        return None
    return ids if isinstance(ids, list) else None
