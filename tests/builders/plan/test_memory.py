"""Predicted memory, term by term, by sums worked out in the test; and the micro batch of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.methods.shape import BaseShape, Linear
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import fit, largest
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.memory import RUNTIME, Load, Memory, predict_memory
from adapterworks.manifests.errors import Refused
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


def test_virtual_tokens_are_computed_in_front_of_every_row() -> None:
    method = {"virtual_tokens": 7}
    three = predicted("prompt-tuning", device="cuda", method=method).activations
    one = predicted("prompt-tuning", replace(LOAD, prompts=1), device="cuda", method=method)
    assert three > one.activations
    per_token = FROZEN * 2 * 4
    assert (three - one.activations) >= 2 * 7 * per_token


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


FACTS = DataFacts({}, {}, lengths=(10, 40, 25, 5), supervised=(8, 2, 3, 5))


@pytest.mark.parametrize(
    ("rows", "shared", "packed", "expected"),
    [
        (1, 0, False, Load(1, 40, 8, 1)),
        # Padded: twice the most labels, since they stand in different columns.
        (2, 0, False, Load(2, 80, 32, 2)),
        (2, 0, True, Load(2, 65, 13, 1)),
        (2, 4, False, Load(2, 61, 13, 1)),
        (9, 4, False, Load(9, 80 - 3 * 4, 18, 1)),
    ],
)
def test_the_largest_micro_batch(rows: int, shared: int, packed: bool, expected: Load) -> None:
    assert largest(FACTS, rows, shared=shared, packed=packed) == expected


def test_logits_are_never_more_than_there_are_tokens() -> None:
    facts = replace(FACTS, lengths=(10, 4), supervised=(9, 3))
    assert largest(facts, 2, shared=0, packed=False) == Load(2, 20, 20, 2)


def fitted(memory: int, device: str = "cpu", facts: DataFacts = FACTS, **train: Any) -> int:
    machine = Machine(device, "m", memory, "fp32", 2)  # type: ignore[arg-type]
    manifest = manifest_for("lora", method={"rank": 2}, batch_size=12, **train)
    micro, found = fit(manifest, SHAPE, machine, facts, 0, 1000, "fp32")
    load = largest(facts, micro, shared=0, packed=False)
    expected = predict_memory(manifest, SHAPE, load, device, trainable=1000, width=4)
    assert found == expected
    return micro


def test_the_micro_batch_is_the_largest_divisor_that_fits() -> None:
    def needed(rows: int) -> int:
        load = largest(FACTS, rows, shared=0, packed=False)
        manifest = manifest_for("lora", method={"rank": 2}, batch_size=12)
        return predict_memory(manifest, SHAPE, load, "cpu", trainable=1000, width=4).total

    assert fitted(1 << 30) == 12
    for rows in (12, 6, 4, 3, 2, 1):
        enough = -(-needed(rows) * 10 // 9) + 2  # nine tenths of the machine may be filled
        assert fitted(enough) == rows
        if rows > 1:
            assert fitted(enough - 12) < rows


def test_more_rows_than_their_tokens_gain_from_are_not_taken() -> None:
    """1024 tokens at a time on a CPU, 16 times that on a GPU."""
    long = replace(FACTS, lengths=(300, 40))
    assert fitted(1 << 40, facts=long) == 3
    assert fitted(1 << 40, "cuda", facts=long) == 12
    assert fitted(1 << 40, facts=replace(FACTS, lengths=(2000,))) == 1
    assert fitted(1 << 40, facts=long, micro_batch_size=6) == 6, "who says it gets it"


def test_what_does_not_fit_says_what_it_needs() -> None:
    with pytest.raises(Refused, match=r"needs 0\.06 GiB at a micro batch of 1") as caught:
        fitted(RUNTIME)
    assert "runtime 0.06 GiB" in str(caught.value.hint)
