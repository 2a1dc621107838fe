"""Mixtures of experts among a checkpoint's weights, which NF4 leaves as they are.

`transformers` holds all experts of a layer in one tensor, and bitsandbytes quantizes linear layers
only (`nf4.py`). vLLM's loader of its kernels (`vllm-bnb-plugin`) quantizes experts too, and routers
with them, so such an engine would serve other values than those that training saw.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.registry.bases.complete import stored_shapes


def holds_experts(checkpoint: Path) -> bool:
    """Whether a checkpoint's files hold experts: each by itself, or a layer's stacked.

    Asked of the headers, by the names that the field gives them; three dimensions that are no
    convolution's are taken for a stack, whatever its name, but for a stack of one, which positions
    and class tokens of towers are.

    Raises:
        InvalidInput: the index of its files cannot be read, or names one that is not there.
    """
    return any(
        "experts" in name.split(".") or (len(shape) == 3 and shape[0] > 1 and "conv" not in name)
        for name, shape in stored_shapes(checkpoint).items()
    )
