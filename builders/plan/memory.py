"""Peak memory of a training, by term, from the base's shape: what a plan promises before it runs.

Invariant: pure arithmetic in bytes. The activation terms count what autograd keeps for the backward
pass of a decoder layer with fused attention; they were checked against measured peaks, and every
release records prediction and measurement side by side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.models import (
    AdaloraMethod,
    FullMethod,
    LoraMethod,
    Manifest,
    PromptMethod,
)

# NF4 holds 4 bits a weight and one scale a block of 64: 8 bits (double quantization, plus a second
# scale every 256 blocks) or 32 bits (Dettmers et al. 2023, §3).
_NF4_BITS = {True: 4 + 8 / 64 + 32 / (64 * 256), False: 4 + 32 / 64}
# What allocators and thread pools hold beyond tensors.
RUNTIME = 64 << 20
# On a CPU, what the C library's heap occupies for each byte of activations: their sizes change with
# the rows' lengths, and what is freed is seldom what is asked for next. Fitted to glibc over full,
# LoRA and QLoRA trainings (docs/log.md). CUDA's caching allocator: not measured.
_HEAP = {"cpu": 1.6, "cuda": 1.0}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of training, beyond the process without a model."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    runtime: int = RUNTIME

    @property
    def total(self) -> int:
        """The terms together; gradients take the place of the activations they are made from."""
        varying = max(self.gradients, self.activations)
        return self.weights + self.optimizer + varying + self.runtime

    def to_json(self) -> dict[str, int]:
        """The terms and their sum."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True)
class Load:
    """One micro batch.

    Attributes:
        rows: number of rows.
        tokens: positions that are computed, padding with them.
        logits: positions whose logits are computed.
        prompts: how often a soft prompt stands in front: once a row, or once for all.
    """

    rows: int
    tokens: int
    logits: int
    prompts: int


def predict_memory(
    manifest: Manifest, shape: BaseShape, load: Load, device: str, *, trainable: int, width: int
) -> Memory:
    """Peak memory of one training.

    Args:
        manifest: resolved.
        shape: of the base.
        load: the largest micro batch.
        device: `cpu` or `cuda`.
        trainable: number of trained parameters.
        width: bytes of a weight or activation in the training's precision (4 or 2).
    """
    method, train = manifest.method, manifest.train
    full = isinstance(method, FullMethod)
    weight_width = 4 if full else width
    if method.kind == "qlora":
        bits = _NF4_BITS[manifest.base.double_quantization]
        weights = int(shape.linear_parameters * bits / 8) + shape.other * weight_width
    else:
        weights = shape.parameters * weight_width
    if not full:
        weights += 4 * trainable
    moments = 2 if train.optimizer == "paged-adamw-8bit" else 8
    return Memory(
        weights=weights,
        gradients=4 * trainable,
        optimizer=moments * trainable,
        activations=int(_HEAP[device] * _activations(manifest, shape, load, width)),
    )


def _activations(manifest: Manifest, shape: BaseShape, load: Load, width: int) -> int:
    method = manifest.method
    virtual = method.virtual_tokens if isinstance(method, PromptMethod) else 0
    own = load.prompts * (virtual if method.kind == "prompt-tuning" else 0)
    tokens = load.tokens + own
    hidden, inner = shape.hidden, shape.intermediate
    keys = shape.kv_heads * shape.head_dim
    queries = shape.heads * shape.head_dim
    # Norms and residuals, q, k, v and their copies for grouped heads, gate and up.
    layer = 4 * hidden + 4 * queries + 3 * inner
    if not isinstance(method, PromptMethod):
        # Inputs of the linears that have trained weights, and what their outputs are made from.
        layer += 4 * hidden + 2 * queries + 3 * keys + inner
    if isinstance(method, LoraMethod | AdaloraMethod):
        rank = method.initial_rank if isinstance(method, AdaloraMethod) else method.rank
        per_layer = len(shape.targeted(method.target_modules)) / shape.layers
        layer += int(per_layer * rank * (1 + (method.dropout > 0)))
    kept = shape.layers * layer
    if manifest.train.gradient_checkpointing:
        kept = shape.layers * hidden + layer
    total = tokens * kept * width
    if isinstance(method, PromptMethod) and method.kind != "prompt-tuning":
        # The prefix joins every layer's keys and values, and is kept with its gradient.
        total += load.prompts * virtual * shape.layers * (2 * keys + 2 * queries) * width
    # Logits, their float32 log-probabilities and gradient, only where a label is.
    total += load.logits * shape.vocab * (width + 8)
    # The largest weight is de-quantized, merged (DoRA) or updated beside its original.
    largest = max(linear.in_features * linear.out_features for linear in shape.linears)
    if method.kind in ("qlora", "dora"):
        total += 2 * largest * width
    if method.kind == "dora":
        total += shape.linear_parameters * width // 2
    return total
