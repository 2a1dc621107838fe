"""A training that is repeated to the bit on a GPU: what it sets before CUDA starts, and after.

Invariant: nothing is set where it was not asked for, and where it was, an operation that has no
deterministic kernel ends the training by its name instead of adding in whatever order.

By default kernels add by atomics in the backward pass (attention, embeddings), and cuBLAS chooses
among workspaces: two runs on one card differ in the last bits from the first step on. See
https://docs.pytorch.org/docs/stable/notes/randomness.html.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapterworks.builders.plan.plan import Plan

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# The two that cuBLAS is deterministic with, by NVIDIA's documentation.
_KNOWN = (":4096:8", ":16:8")


def environment_of(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that the training's process has to begin with; cuBLAS reads its own once.

    Args:
        environ: of the build's process; a workspace that will do is left.
    """
    if not plan.manifest.train.deterministic or plan.device != "cuda":
        return {}
    workspace = environ.get(_WORKSPACE, "")
    return {
        _WORKSPACE: workspace if workspace in _KNOWN else _KNOWN[0],
        "FLASH_ATTENTION_DETERMINISTIC": "1",  # of the package `flash-attn`, as transformers asks
    }


def make_deterministic(plan: Plan) -> None:
    """Let torch take deterministic kernels alone, if the manifest says so; for this process.

    Not with a warning alone: then torch's memory-efficient attention goes on adding by atomics.
    """
    if not plan.manifest.train.deterministic:
        return
    import torch

    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def is_deterministic() -> bool:
    """Whether torch takes deterministic kernels alone, in this process."""
    import torch

    return (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )
