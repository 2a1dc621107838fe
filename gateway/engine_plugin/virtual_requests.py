"""Virtual tokens put in front of a request inside the engine, where no one counts them.

Invariant: the front end never sees them, so usage, echoes and stop conditions are about the
client's own tokens; positions, cache blocks and their hashes are about both together.
"""

from __future__ import annotations

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

    The placeholder is the prompt's own first token: penalties look at the set of a prompt's tokens,
    which so stays what it was.
    """
    count, prompt = adapter.count, request.prompt_token_ids
    assert prompt
    padding = [prompt[0]] * count
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
