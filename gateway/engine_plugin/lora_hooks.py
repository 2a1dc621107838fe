"""Where vLLM's LoRA on CPU is replaced.

Invariant: the wrapper, and with it Numba, is imported when vLLM makes it, not when the hooks are
installed: vLLM 0.32 looks through everything imported as its worker starts, and fails at an object
of Numba's (`vllm.triton_utils.dispatcher`).
"""

from __future__ import annotations

import logging
from typing import Any

from vllm.lora.layers.base import BaseLayerWithLoRA
from vllm.platforms.cpu import CpuPlatform

WRAPPER = "adapterworks.gateway.engine_plugin.cpu_lora.GroupedPunicaWrapper"
"""By name, as vLLM's platforms give it."""

logger = logging.getLogger("vllm.adapterworks")


def install() -> None:
    """Make vLLM's CPU platform use the grouped path; harmless on other platforms and when repeated.

    Two hooks: the name of the wrapper's class, which the platform gives, and `set_mapping`, which
    vLLM calls once for each LoRA layer when the layer is complete.
    """
    if getattr(CpuPlatform.get_punica_wrapper, "adapterworks", False):
        return

    def get_punica_wrapper(cls: type[CpuPlatform]) -> str:
        return WRAPPER

    get_punica_wrapper.adapterworks = True  # type: ignore[attr-defined]
    stock_set_mapping = BaseLayerWithLoRA.set_mapping

    def set_mapping(layer: BaseLayerWithLoRA, punica_wrapper: Any) -> None:
        stock_set_mapping(layer, punica_wrapper)
        adopt = getattr(punica_wrapper, "adopt", None)
        if adopt is not None:
            adopt(layer)

    CpuPlatform.get_punica_wrapper = classmethod(get_punica_wrapper)
    BaseLayerWithLoRA.set_mapping = set_mapping
    logger.info("adapterworks: LoRA on CPU by groups of rows")
