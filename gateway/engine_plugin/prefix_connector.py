"""A KV connector whose "remote" cache is the keys and values of adapters' virtual tokens.

Loaded by vLLM's own configuration:

    --kv-transfer-config '{"kv_connector": "PrefixConnector", "kv_role": "kv_consumer",
      "kv_connector_module_path": "adapterworks.gateway.engine_plugin.prefix_connector"}'

Invariant: the first N tokens of a prefix request are never computed: their keys and values are
those of its adapter, written before the forward pass that first reads them, also after preemption.
Requests that name no adapter are untouched.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)
from vllm.forward_context import ForwardContext
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.core.kv_cache_manager import KVCacheBlocks
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.request import Request

from adapterworks.gateway.engine_plugin import entry
from adapterworks.gateway.engine_plugin.servables import find
from adapterworks.gateway.engine_plugin.virtual_requests import prepend, virtual_tokens

KEPT_BYTES = 256 << 20
"""Of keys and values that stay in memory, those used last: 290 adapters of 20 tokens of a model of
135M in float32, or 8 of 100 tokens of one of 70B in bfloat16; the last one stays however large."""

logger = logging.getLogger("vllm.adapterworks")


@dataclass(frozen=True, slots=True)
class Load:
    """Write an adapter's tokens `start:stop` into these cache blocks (the request's, from 0)."""

    digest: str
    start: int
    stop: int
    blocks: tuple[int, ...]


@dataclass
class Loads(KVConnectorMetadata):
    """What the scheduler tells the worker for one step."""

    items: list[Load] = field(default_factory=list)


def _require(config: VllmConfig, cache: KVCacheConfig) -> None:
    """Refuse engines in which a prefix would stand before a part of what computes.

    Raises:
        ValueError: it is one of them; the engine does not start.
    """
    if config.parallel_config.world_size != 1:
        raise ValueError("prefix adapters are served by engines of one device only")
    if len(cache.kv_cache_groups) > 1:
        raise ValueError("prefix adapters need a model whose layers share one kind of cache")
    drafts = config.speculative_config
    if drafts is not None and (drafts.uses_draft_kv_cache() or drafts.method == "custom_class"):
        raise ValueError(
            f"prefix adapters are not served beside speculative decoding by `{drafts.method}`: its "
            "draft has a cache of its own, for which no adapter has keys and values (`ngram` and "
            "`suffix` have none)"
        )


class PrefixConnector(KVConnectorBase_V1):
    """See the module; one instance lives in the scheduler, one in the worker."""

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        # What the front end has not let in would end the scheduler's loop for everybody.
        entry.require()
        _require(vllm_config, kv_cache_config)
        super().__init__(vllm_config, role, kv_cache_config)
        self._block_size = vllm_config.cache_config.block_size
        self._dtype: torch.dtype = vllm_config.model_config.dtype
        self._pending: list[Load] = []
        self._tensors: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()
        self._failed: set[int] = set()

    # --- scheduler ---

    def on_new_request(self, request: Request) -> None:
        """Put the adapter's tokens in front of the prompt."""
        adapter = virtual_tokens(request)
        if adapter is not None:
            prepend(request, adapter)

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        """The prefix beyond what the engine's own prefix cache holds; loaded within the step."""
        adapter = virtual_tokens(request)
        if adapter is None:
            return 0, False
        return max(0, adapter.count - num_computed_tokens), False

    def update_state_after_alloc(
        self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int
    ) -> None:
        """Note where the prefix must be written; also called when a preempted request resumes."""
        adapter = virtual_tokens(request)
        if adapter is None or not num_external_tokens:
            return
        needed = -(-adapter.count // self._block_size)
        (ids,) = blocks.get_block_ids()
        self._pending.append(
            Load(
                adapter.digest,
                adapter.count - num_external_tokens,
                adapter.count,
                tuple(ids[:needed]),
            )
        )

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KVConnectorMetadata:
        """Hand this step's loads to the worker."""
        loads, self._pending = Loads(self._pending), []
        return loads

    # --- worker ---

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Write the prefixes with the attention layers' own cache operation."""
        loads = self._get_connector_metadata()
        assert isinstance(loads, Loads)
        for load in loads.items:
            try:
                tensors = self._adapter(load.digest)
                self._write(load, tensors, forward_context)
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                # vLLM then ends the requests on these blocks with an error, and no others.
                logger.error("prefix adapter `%s` cannot be loaded: %s", load.digest, error)
                self._failed.update(load.blocks)

    def _adapter(self, digest: str) -> dict[str, torch.Tensor]:
        if digest not in self._tensors:
            found = load_file(find(digest).file)
            self._tensors[digest] = {name: t.to(self._dtype) for name, t in found.items()}
            while len(self._tensors) > 1 and self._held() > KEPT_BYTES:
                self._tensors.popitem(last=False)
        self._tensors.move_to_end(digest)
        return self._tensors[digest]

    def _held(self) -> int:
        """Bytes of all that is kept."""
        return sum(one.nbytes for tensors in self._tensors.values() for one in tensors.values())

    def _write(self, load: Load, tensors: dict[str, torch.Tensor], context: ForwardContext) -> None:
        positions = torch.arange(load.start, load.stop)
        blocks = torch.tensor(load.blocks)
        slots = blocks[positions // self._block_size] * self._block_size
        slots += positions % self._block_size
        for name, layer in context.no_compile_layers.items():
            if not isinstance(layer, Attention):
                continue
            index = extract_layer_index(name)
            key = tensors[f"layers.{index}.key"][load.start : load.stop]
            value = tensors[f"layers.{index}.value"][load.start : load.stop]
            wanted = (load.stop - load.start, layer.num_kv_heads, layer.head_size)
            if key.shape != wanted or value.shape != wanted:
                raise ValueError(f"keys or values of layer {index} are not {list(wanted)}")
            device = layer.kv_cache.device
            layer.impl.do_kv_cache_update(
                layer, key.to(device), value.to(device), layer.kv_cache, slots.to(device)
            )

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks whose prefix could not be written in this step."""
        failed, self._failed = self._failed, set()
        return failed

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Loads are complete when `start_load_kv` returns."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kw: Any) -> None:
        """Nothing is saved: this connector only reads."""

    def wait_for_save(self) -> None:
        """Nothing is saved."""
