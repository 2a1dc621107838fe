"""vLLM's own LoRA layers, built once without an engine, with the stock and with our wrapper."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

with warnings.catch_warnings():
    # vLLM's and torch's own imports warn of their own deprecations.
    warnings.simplefilter("ignore")
    from adapterworks.gateway.engine_plugin.cpu_lora import GroupedPunicaWrapper  # noqa: F401

MAX_LORAS, MAX_RANK, HIDDEN = 6, 16, 64
SHAPES = {"qkv": (64, 32, 32), "gate_up": (96, 96), "plain": (64,)}


@pytest.fixture(scope="session")
def vllm_cpu() -> Iterator[Any]:
    """vLLM's single-process parallel state and a configuration, as its layers require."""
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import (
        destroy_distributed_environment,
        destroy_model_parallel,
        init_distributed_environment,
        initialize_model_parallel,
    )

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = VllmConfig()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"tcp://127.0.0.1:{port}", 0, backend="gloo")
        initialize_model_parallel(1, 1)
        yield config
        destroy_model_parallel()
        destroy_distributed_environment()


@pytest.fixture
def lora_layer(vllm_cpu: Any) -> Any:
    """A function: kind of layer → a real vLLM LoRA layer of it with zero base weights."""
    from vllm.config.lora import LoRAConfig
    from vllm.lora.layers import (
        ColumnParallelLinearWithLoRA,
        MergedColumnParallelLinearWithLoRA,
        MergedQKVParallelLinearWithLoRA,
    )
    from vllm.model_executor.layers.linear import (
        ColumnParallelLinear,
        MergedColumnParallelLinear,
        QKVParallelLinear,
    )

    config = LoRAConfig(max_lora_rank=MAX_RANK, max_loras=MAX_LORAS, lora_dtype=torch.float32)

    def make(kind: str) -> Any:
        dtype = {"params_dtype": torch.float32}
        if kind == "qkv":
            base = QKVParallelLinear(HIDDEN, 32, 2, 1, bias=False, **dtype)
            layer = MergedQKVParallelLinearWithLoRA(base)
        elif kind == "gate_up":
            base = MergedColumnParallelLinear(HIDDEN, [96, 96], bias=False, **dtype)
            layer = MergedColumnParallelLinearWithLoRA(base)
        else:
            base = ColumnParallelLinear(HIDDEN, 64, bias=False, **dtype)
            layer = ColumnParallelLinearWithLoRA(base)
        layer.create_lora_weights(MAX_LORAS, config)
        return layer

    return make
