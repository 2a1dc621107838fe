"""Peak memory of a training, by term, from the base's shape: what a plan promises before it runs.

Invariant: pure arithmetic in bytes; what differs between methods is asked of the method. The
activation terms count what autograd keeps for the backward pass of a decoder layer with fused
attention; they were checked against measured peaks, and every release records prediction and
measurement side by side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import largest_linear
from adapterworks.builders.objectives.scoring import logits_together
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.attention_memory import masks, scores
from adapterworks.builders.plan.load import Load
from adapterworks.manifests.models import Manifest

# What allocators and thread pools hold beyond tensors.
RUNTIME = 64 << 20
# On a CPU, what the C library's heap occupies for each byte of activations: their sizes change with
# the rows' lengths, and what is freed is seldom what is asked for next. Fitted to glibc over full,
# LoRA and QLoRA trainings (docs/log/training.md). CUDA's caching allocator: not measured.
HEAP = {"cpu": 1.6, "cuda": 1.0}


_SOMETIMES = ("accumulated", "casts", "stepping", "held", "sampling", "engine")
# A teacher's logits of a token, its and the model's float32 log-probabilities, what is compared of
# them and its gradient: bytes of a word of the vocabulary, beside what the model's own take.
_COMPARED = 24


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of training, beyond the process without a model.

    Attributes:
        accumulated: gradients that are held while a further micro batch is computed.
        casts: copies of trained weights in the precision that they are multiplied in.
        stepping: temporaries of the optimizer's step.
        held: what else is held all the time: a teacher, or where a training is anchored.
        sampling: what answers take that are generated together, before they are learnt from.
        engine: of one beside the training, all the time.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    runtime: int = RUNTIME
    accumulated: int = 0
    casts: int = 0
    stepping: int = 0
    held: int = 0
    sampling: int = 0
    engine: int = 0

    @property
    def total(self) -> int:
        """The largest of the peaks: the end of a forward pass, the optimizer's step, or sampling.

        At the first micro batch of a step, gradients take the place of the activations that they
        are made from; from the second on, those of before are there beside them.
        """
        forward = self.activations + self.casts + self.accumulated
        sampling = self.sampling + self.casts if self.sampling else 0
        varying = max(self.gradients + self.stepping, forward, sampling)
        standing = self.weights + self.held + self.optimizer + self.engine
        return standing + varying + self.runtime

    def to_json(self) -> dict[str, int]:
        """The terms and their sum; of the last six those that there are."""
        found = {k: v for k, v in asdict(self).items() if v or k not in _SOMETIMES}
        return {**found, "total": self.total}


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
    technique = METHODS[manifest.method.kind]
    stepped = OPTIMIZERS[manifest.train.optimizer]
    gpu = device == "cuda"
    return Memory(
        weights=technique.weight_bytes(shape, manifest.base, width=width, trainable=trainable),
        gradients=4 * trainable,
        optimizer=int(stepped.state * trainable),
        # Masks are all of one size, so what is freed of them is used again.
        activations=int(HEAP[device] * _activations(manifest, shape, load, width, device))
        + masks(manifest, shape, load, width),
        accumulated=4 * trainable if load.accumulates else 0,
        # Autocast casts what is trained in float32 once a forward pass, and the backward needs it.
        casts=width * trainable if gpu and width < 4 else 0,
        stepping=stepped.temporaries * trainable if gpu else 0,
    )


def _activations(manifest: Manifest, shape: BaseShape, load: Load, width: int, device: str) -> int:
    technique, method = METHODS[manifest.method.kind], manifest.method
    kept = technique.kept(shape, method, width)
    kept = replace(kept, once=kept.once + _rounded(manifest, shape))
    tokens = load.tokens + load.prompts * technique.embedded_tokens(method)
    # Norms and residuals, q, k, v and their copies for grouped heads, gate and up.
    frozen = 4 * shape.hidden + 4 * shape.heads * shape.head_dim + _inside(shape)
    layer = frozen + kept.layer
    layers = shape.layers * layer
    if manifest.train.gradient_checkpointing:
        layers = shape.layers * shape.hidden + layer
    logits = _logits(manifest, shape, load, width, device)
    kept_scores = scores(manifest, shape, load, width)
    return tokens * layers * width + load.prompts * kept.prompt + logits + kept.once + kept_scores


def _inside(shape: BaseShape) -> int:
    """Numbers that a token keeps of the feed-forward part of an average layer, over all layers:
    gate, up and their product; of experts those of each that it passes, and what comes out of it,
    which its weight is multiplied with."""
    dense = (shape.layers - shape.routed) * 3 * shape.intermediate
    passed = shape.chosen * (3 * shape.expert + shape.hidden) + 3 * shape.always
    return (dense + shape.routed * passed) // shape.layers


def _logits(manifest: Manifest, shape: BaseShape, load: Load, width: int, device: str) -> int:
    """Bytes of logits, their float32 log-probabilities and gradient, only where a label is and so
    many at a time (`builders/training/projection.py`); then what goes into the projection, and its
    gradient, are there of all of them."""
    train = manifest.train
    together = load.logits
    if train.sharding == "none" or train.processes == 1:
        together = min(together, logits_together(shape.vocab, device))
    beside = 2 * width * shape.hidden * load.logits if together < load.logits else 0
    word = width + 8
    if load.taught:
        beside, word = beside + 4 * shape.hidden * load.logits, word + width + _COMPARED
    return together * shape.vocab * word + beside


def anchored(manifest: Manifest, trainable: int) -> int:
    """Bytes of where a training is anchored, and of what each of its numbers counts."""
    anchor = manifest.train.anchor
    return 0 if anchor is None else 4 * trainable * (2 if anchor.kind == "ewc" else 1)


def _rounded(manifest: Manifest, shape: BaseShape) -> int:
    """Bytes of the linears' rounded weights, which the backward pass needs, and what rounding the
    largest one takes meanwhile (levels in float64, and the gradient of the whole weight)."""
    train = manifest.train
    if train.quantization_aware is None:
        return 0
    at_once = shape.layers if not train.gradient_checkpointing else 1
    return 4 * shape.linear_parameters * at_once // shape.layers + 32 * largest_linear(shape)
