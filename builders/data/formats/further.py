"""A record's columns that its format does not read: kept beside the row, or refused by name.

Metrics, slices and gates of a user's own read such columns, so most are kept. Those by which the
field says what is shown to a model or learnt by it are not: a `history` that is not read turns the
question into another one, a `weight` of 0 that is not read teaches what was marked as wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from adapterworks.builders.data.formats.columns import FormatFault

# What other trainers and formats show to the model, or answer with.
_SHOWN = {
    *("system", "system_prompt", "history", "context", "input", "instruction", "prompt"),
    *("completion", "response", "output", "messages", "conversations", "conversation"),
    *("tools", "functions", "function_call", "tool_calls", "chosen", "rejected", "documents"),
    *("image", "images", "video", "videos", "audio", "audios", "thinking", "reasoning"),
    *("reasoning_content", "thought", "chat_template", "chat_template_kwargs"),
}
# How much, or whether, it is learnt: 1 and true say what is done anyway.
_WEIGHTS = {"weight", "weights", "train", "trainable", "loss", "loss_mask", "mask", "masked"}
VERDICTS = {"label", "kto_tag", "desirable"}  # of KTO, where they are truth values

_TRUTHS = {"true": True, "false": False}


def further(
    columns: Mapping[str, Any], read: Collection[str], *, replaced: Collection[str] = ()
) -> dict[str, Any]:
    """The columns that are not among those read, as JSON values.

    Args:
        read: by the format, and those that are to be ignored.
        replaced: the format's own names for which another column is read, as somebody wrote.

    Raises:
        FormatFault: one would change what the row means, or is no value that can be kept.
    """
    others = {name: value for name, value in columns.items() if name not in read}
    unread = [
        name for name, value in others.items() if name not in replaced and _matters(name, value)
    ]
    if unread:
        named = ", ".join(f"`{name}`" for name in unread)
        raise FormatFault(
            f"column {named} would be ignored: another `data.format` may read it, or name it in "
            "`data.ignore`"
        )
    return {name: _kept(name, value) for name, value in others.items()}


def _matters(name: str, value: Any) -> bool:
    if value is None or value in ("", [], {}, ()):  # a column that this row does not use
        return False
    folded = name.strip().lower()
    if folded in _WEIGHTS:
        return not (isinstance(value, bool | int | float) and value == (folded != "masked"))
    # `Context` with a capital is a column of somebody's table; `context` is what trainers read.
    return name in _SHOWN or (folded in VERDICTS and truth(value) is not None)


def truth(value: Any) -> bool | None:
    """`true` and `false`, as tables without types spell them too; None of anything else."""
    if isinstance(value, bool):
        return value
    return _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None


def _kept(name: str, value: Any) -> Any:
    """A value as JSON has it: days and decimals as text, no number as null."""
    plain = _plain(value)
    try:
        json.dumps({name: plain}, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        shown = name.encode(errors="backslashreplace").decode()
        raise FormatFault(
            f"column `{shown}` is a {type(value).__name__} that cannot be kept ({error}): name it "
            "in `data.ignore`"
        ) from None
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date | time | timedelta | Decimal | UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(given) for key, given in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(given) for given in value]
    return value
