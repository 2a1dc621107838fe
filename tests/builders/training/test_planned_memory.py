"""What a plan promises of a training's memory, term by term, by sums worked out in the test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.plan.load import Load
from adapterworks.builders.plan.memory import RUNTIME, Memory, predict_memory
from tests.builders.build_support import manifest_for

# Two layers of hidden 8, two heads of 4 with one key-value head, MLP 16, ten tokens.
_ONE = (
    ("self_attn.q_proj", 8, 8), ("self_attn.k_proj", 4, 8), ("self_attn.v_proj", 4, 8),
    ("self_attn.o_proj", 8, 8), ("mlp.gate_proj", 16, 8), ("mlp.up_proj", 16, 8),
    ("mlp.down_proj", 8, 16),
)  # fmt: skip
LINEARS = tuple(
    Linear(f"model.layers.{layer}.{name}", out, into)
    for layer in range(2)
    for name, out, into in _ONE
)
SHAPE = BaseShape(2, 8, 16, 2, 1, 4, 10, 64, LINEARS, 100)
PARAMETERS = 2 * (64 + 32 + 32 + 64 + 3 * 128) + 100
LOAD = Load(rows=3, tokens=30, logits=5, prompts=3)
# Of a layer, frozen: 4·8 norms and residuals, 4·2·4 queries to values, 3·16 of the MLP; for trained
# weights beside linears: 4·8 + 2·8 + 3·4 + 16 inputs, and A·x of seven linears of rank 2.
FROZEN, INPUTS, RANK = 32 + 32 + 48, 32 + 16 + 12 + 16, 7 * 2


def predicted(
    kind: str = "lora", load: Load = LOAD, *, device: str = "cpu", width: int = 4, **train: Any
) -> Memory:
    method = train.pop("method", {"rank": 2} if kind in ("lora", "dora") else {})
    manifest = manifest_for(kind, method=method, **train)
    return predict_memory(manifest, SHAPE, load, device, trainable=1000, width=width)


def test_every_term_of_a_lora_training() -> None:
    memory = predicted()
    activations = 30 * 2 * (FROZEN + INPUTS + RANK) * 4 + 5 * 10 * (4 + 8)
    assert activations == 49080
    assert memory == Memory(
        weights=PARAMETERS * 4 + 4000,
        gradients=4000,
        optimizer=8000,
        activations=int(1.6 * activations),  # the C library's heap
        runtime=64 << 20,
    )


def test_a_gpus_activations_are_what_they_are() -> None:
    assert predicted(device="cuda").activations == 49080
    half = predicted(device="cuda", width=2)
    assert half.activations == 30 * 2 * (FROZEN + INPUTS + RANK) * 2 + 5 * 10 * (2 + 8)
    assert half.weights == PARAMETERS * 2 + 4000, "what is trained stays float32"
    assert (half.gradients, half.optimizer) == (4000, 8000)


def test_dropout_keeps_an_input_of_its_own() -> None:
    layer = FROZEN + INPUTS + 2 * RANK
    memory = predicted(device="cuda", method={"rank": 2, "dropout": 0.1})
    assert memory.activations == 30 * 2 * layer * 4 + 600


def test_recomputation_keeps_a_layers_input_and_one_layer() -> None:
    memory = predicted(device="cuda", gradient_checkpointing=True)
    assert memory.activations == 30 * (2 * 8 + FROZEN + INPUTS + RANK) * 4 + 600


def test_a_paged_optimizer_has_a_byte_for_each_moment() -> None:
    assert predicted(device="cuda", optimizer="paged-adamw-8bit").optimizer == 2000


def test_gradients_take_the_place_of_the_activations_they_are_made_from() -> None:
    memory = Memory(weights=10, gradients=5, optimizer=20, activations=7, runtime=100)
    assert memory.total == 137
    assert replace(memory, gradients=9).total == 139
    assert memory.to_json() == {
        "weights": 10, "gradients": 5, "optimizer": 20, "activations": 7, "runtime": 100,
        "total": 137,
    }  # fmt: skip
    assert Memory(0, 0, 0, 0).total == RUNTIME == 64 << 20
