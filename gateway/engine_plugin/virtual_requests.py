"""Virtual tokens put in front of a request inside the engine, where no one counts them.

Invariant: the front end never sees them, so usage, echoes and stop conditions are about the
client's own tokens; positions, of pictures and sounds too, cache blocks and their hashes are about
both together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vllm.v1.metrics.stats import PrefillStats
from vllm.v1.request import Request

from adapterworks.gateway.engine_plugin.servables import VirtualTokens, admitted


class OwnPrefillStats(PrefillStats):
    """Counts of the client's own tokens: virtual ones are neither prompt nor cached tokens."""

    def __init__(self, virtual: int) -> None:
        super().__init__()
        self._virtual = virtual

    def set(
        self, num_prompt_tokens: int, num_local_cached_tokens: int, num_external_cached_tokens: int
    ) -> None:
        """As vLLM's, after the virtual tokens, which come first, are taken away."""
        cached = num_local_cached_tokens + num_external_cached_tokens
        super().set(num_prompt_tokens - self._virtual, max(0, cached - self._virtual), 0)

    def finalize(self, num_cached_tokens: int) -> None:
        """As vLLM's."""
        super().finalize(max(0, num_cached_tokens - self._virtual))


def virtual_tokens(request: Request) -> VirtualTokens | None:
    """The adapter that the request names, if any; the front end has checked it."""
    wanted: dict[str, Any] = request.kv_transfer_params or {}
    return admitted(wanted)


def _scored(request: Request) -> bool:
    return request.sampling_params is not None and (
        request.sampling_params.prompt_logprobs is not None
    )


def prepend(request: Request, adapter: VirtualTokens) -> None:
    """Put the adapter's virtual tokens in front of a request that was not scheduled yet.

    The placeholder is the prompt's own first token that stands for itself: penalties look at the
    set of a prompt's tokens, which so stays what it was.
    """
    count, prompt = adapter.count, request.prompt_token_ids
    assert prompt
    padding = [_of_itself(request, prompt)] * count
    request.mm_features = [
        replace(
            feature,
            mm_position=replace(feature.mm_position, offset=feature.mm_position.offset + count),
        )
        for feature in request.mm_features
    ]
    request.prompt_token_ids = padding + prompt
    request._all_token_ids[:0] = padding
    request.num_prompt_tokens += count
    request.prefill_stats = OwnPrefillStats(count)
    # vLLM does not ask the connector for requests that skip the prefix cache.
    request.skip_reading_prefix_cache = False
    # Blocks are shared within one adapter (and tenant) only: the hash must differ from that of the
    # same tokens elsewhere, whatever salt the caller chose. And with nobody by whose prompt is to
    # be scored: what comes from the cache is not computed.
    own = f":{request.request_id}" if _scored(request) else ""
    request.cache_salt = f"{adapter.digest}:{request.cache_salt or ''}{own}"
    request.block_hashes.clear()
    request.update_block_hashes()


def _of_itself(request: Request, prompt: list[int]) -> int:
    """The first token of a prompt that is no place for a picture or a sound; models that count
    positions by them (M-RoPE) would take one more for it."""
    taken = {
        at
        for feature in request.mm_features
        for at in range(
            feature.mm_position.offset, feature.mm_position.offset + feature.mm_position.length
        )
    }
    return next((token for at, token in enumerate(prompt) if at not in taken), prompt[0])
