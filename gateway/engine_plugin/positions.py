"""At which positions of a prompt a request asks for log-probabilities; in no process but vLLM's.

Without positions vLLM answers with all of them. A request that names some gets `prompt_logprobs`
that begin with None, as vLLM's do, and go on with the positions named, in order. An engine without
the plugin ignores the field, and answers without `prompt_logprobs`: so whoever asks can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

POSITIONS = "adapterworks_positions"
"""Where: `vllm_xargs` of a completion, which vLLM passes on as `SamplingParams.extra_args`."""


def positions_of(extra: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    """The positions that a request names; None if it names none."""
    named = (extra or {}).get(POSITIONS)
    return None if named is None else tuple(named)


def check_positions(named: object, tokens: int) -> None:
    """Refuse what cannot be answered.

    Args:
        tokens: of the prompt.

    Raises:
        ValueError: not ascending indices of tokens that others stand in front of.
    """
    numbers = named if isinstance(named, Sequence) and not isinstance(named, str) else ()
    indices = [n for n in numbers if type(n) is int and 0 < n < tokens]
    if not numbers or len(indices) != len(numbers) or sorted(set(indices)) != indices:
        raise ValueError(f"`{POSITIONS}` are not ascending indices from 1 to {tokens - 1}")
