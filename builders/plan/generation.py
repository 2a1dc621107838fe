"""What a training needs to sample answers: how many are generated together, and the memory of it.

Invariant: pure arithmetic in bytes. Answers are generated while no gradient and no activation of a
backward pass is there, so that their memory stands in those's place; an engine beside the training
has its own all the time.
"""

from __future__ import annotations

from dataclasses import replace

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.memory import HEAP, Memory
from adapterworks.manifests.models import Manifest

ENGINE_SHARE = 0.6
"""Of a card that an engine of a build's own takes, beside whatever else of the build is there."""
ENGINE_CACHE_GIB = 1
"""Of keys and values that it has on a CPU."""
# What vLLM's process takes on a CPU beside weights and cache.
_ENGINE = 1 << 30
# Bytes for a word of the vocabulary and an answer: logits as numbers of 4 bytes and their
# logarithms, shares and their sums of 8, and what is left of them for the choice.
_CHOICE = 32
# A cache grows token by token, and is copied to grow: what a layer's was before is there beside it,
# and leaves a gap that is too small for what comes next. On a CPU measured (docs/log/alignment.md);
# of CUDA's caching allocator not.
_GROWTH = {"cpu": 1.2, "cuda": 1.5}
# So many at least are generated together where they fit: one alone leaves most of a machine idle.
_LEAST_TOGETHER = 8


def answers_of(manifest: Manifest) -> int:
    """Answers that a step samples; 0 where nothing is sampled."""
    objective = objective_of(manifest)
    if not objective.rollouts or getattr(objective, "on_policy", 1.0) == 0:
        return 0
    generations: int = getattr(manifest.objective, "generations", 1)
    return manifest.train.batch_size * generations


def learnt_together(manifest: Manifest) -> int:
    """Examples of the largest update of the weights."""
    answers = answers_of(manifest)
    if not answers:
        return manifest.train.batch_size
    return max(len(part) for part in objective_of(manifest).updates(answers, 0))


def sampled_beside(manifest: Manifest) -> bool:
    """Whether an engine of its own samples."""
    return getattr(manifest.objective, "engine", "huggingface") != "huggingface"


def generating(
    manifest: Manifest, shape: BaseShape, data: DataFacts, device: str, answers: int, width: int
) -> int:
    """Bytes of so many answers that are generated together by the model that is trained.

    Args:
        width: bytes of a weight or activation in the training's precision (4 or 2).
    """
    most: int = getattr(manifest.objective, "max_completion", 0)
    virtual = METHODS[manifest.method.kind].virtual_tokens(manifest.method)
    length = data.longest_sequence + virtual
    keys_and_values = 2 * shape.layers * shape.kv_heads * shape.head_dim * width
    # The prompt goes through one layer after the other, and nothing is kept for a backward pass.
    layer = 4 * shape.hidden + 4 * shape.heads * shape.head_dim + 3 * shape.intermediate
    cache = int(_GROWTH[device] * length * keys_and_values)
    prompt = int(HEAP[device] * max(0, length - most) * layer * width)
    return answers * (cache + prompt + shape.vocab * _CHOICE)


def _fixed(manifest: Manifest) -> int | None:
    """`generation_batch_size`, no more than a step has answers."""
    fixed: int | None = getattr(manifest.objective, "generation_batch_size", None)
    return fixed and min(fixed, answers_of(manifest))


def with_sampling(
    memory: Memory,
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    width: int,
    answers: int | None = None,
) -> Memory:
    """A training's memory with what it takes to sample so many answers at once; if not given, as
    many as `generation_batch_size` says, or one."""
    if not answers_of(manifest):
        return memory
    if not sampled_beside(manifest):
        number = answers or _fixed(manifest) or 1
        taken = generating(manifest, shape, data, machine.device, number, width)
        return replace(memory, sampling=taken)
    if machine.device == "cuda":
        return replace(memory, engine=int(ENGINE_SHARE * machine.most))
    beside = 4 * shape.parameters + (ENGINE_CACHE_GIB << 30) + _ENGINE
    return replace(memory, engine=beside)


def generated_together(
    memory: Memory,
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    width: int,
    room: int,
) -> int:
    """How many answers are generated together: `generation_batch_size`, or the most of a step's
    that fit; on a CPU, whose memory is shared, the most that need no more than the training does
    anyway, or a few. 0 where the model that is trained generates nothing.

    Args:
        memory: of the training with one answer at a time, which fits.
        room: bytes that it may take.
    """
    answers = answers_of(manifest)
    if not answers or sampled_beside(manifest):
        return 0
    if fixed := _fixed(manifest):
        return fixed

    def total(number: int) -> int:
        return with_sampling(memory, manifest, shape, machine, data, width, number).total

    anyway = memory.total
    for parts in range(1, answers + 1):
        number = -(-answers // parts)
        free = machine.device == "cuda" or number <= _LEAST_TOGETHER
        if total(number) <= (room if free else min(room, anyway)):
            return number
    return 1
