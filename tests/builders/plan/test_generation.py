"""What sampling takes: keys and values, an engine beside the training, and how many at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.plan.agreement import allowed_mismatch
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.generation import (
    answers_of,
    generated_together,
    generating,
    learnt_together,
    with_sampling,
)
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.memory import Memory
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import ENVIRONMENT, MACHINE, identity, manifest_for
from tests.builders.plan.small import SMALL

GRPO: dict[str, Any] = {
    "kind": "grpo",
    "rewards": ["exact_match"],
    "generations": 4,
    "max_completion": 8,
}
# Prompts of at most 12 tokens, and 8 that are sampled.
FACTS = DataFacts({"train": 40}, {"train": "sha256:1"}, (20,) * 40, (8,) * 40, longest=20)
GIB = 1 << 30


def manifest(method: str = "lora", **objective: Any) -> Manifest:
    train = objective.pop("train", {})
    return manifest_for(method, objective={**GRPO, **objective}, batch_size=4, **train)


def plan(on: Machine = MACHINE, **objective: Any) -> Plan:
    made = manifest(**objective)
    return make_plan(made, identity("lora"), SMALL, on, FACTS, ENVIRONMENT)


def test_an_answer_takes_its_keys_and_values_its_prompt_and_a_choice() -> None:
    """20 tokens of keys and values in two layers with one head of 4, half as much again while they
    grow on a card; 12 of the prompt in one layer; 32 bytes for each of ten words."""
    cache = int(1.5 * 20 * 2 * 2 * 1 * 4 * 4)
    prompt = 12 * (4 * 8 + 4 * 2 * 4 + 3 * 16) * 4
    own = manifest()
    assert generating(own, SMALL, FACTS, "cuda", 1, 4) == cache + prompt + 320
    assert generating(own, SMALL, FACTS, "cuda", 6, 4) == 6 * (cache + prompt + 320)
    half = generating(own, SMALL, FACTS, "cuda", 1, 2)
    assert half == (cache + prompt) // 2 + 320
    by_hand = int(1.2 * cache / 1.5) + int(1.6 * prompt) + 320
    assert generating(own, SMALL, FACTS, "cpu", 1, 4) == by_hand
    soft = manifest("prompt-tuning")
    virtual = soft.method.virtual_tokens  # type: ignore[attr-defined]
    assert generating(soft, SMALL, FACTS, "cuda", 1, 4) == (
        int(1.5 * (20 + virtual) * 64) + (12 + virtual) * (4 * 8 + 4 * 2 * 4 + 3 * 16) * 4 + 320
    )


def test_sampling_stands_in_the_place_of_the_backward_pass() -> None:
    memory = Memory(1000, 10, 20, 300, runtime=5)
    assert memory.total == 1000 + 20 + 300 + 5
    assert replace(memory, sampling=200).total == memory.total
    assert replace(memory, sampling=700, casts=30).total == 1000 + 20 + 730 + 5
    assert replace(memory, sampling=700, engine=50).total == 1000 + 20 + 700 + 5 + 50
    assert replace(memory, sampling=7).to_json()["sampling"] == 7
    assert "engine" not in memory.to_json()


def test_a_steps_examples_are_its_answers() -> None:
    """Gradients are held while a further micro batch is computed, however small the batch is."""
    assert (answers_of(manifest()), learnt_together(manifest())) == (16, 16)
    ppo = manifest(**{"kind": "ppo", "minibatches": 3})
    assert (answers_of(ppo), learnt_together(ppo)) == (16, 6)
    plain = manifest_for("lora", batch_size=4)
    assert (answers_of(plain), learnt_together(plain)) == (0, 4)
    assert plan().accumulation == 16 // plan().micro_batch
    assert plan(train={"micro_batch_size": 4}).memory["accumulated"] > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_as_many_are_generated_together_as_fit(device: Any) -> None:
    """On a CPU, whose memory others use too, no more than the training takes anyway, or a few."""
    own, width = manifest(), 4
    one = generating(own, SMALL, FACTS, device, 1, width)
    for activations, room, expected in (
        (0, 100.0, 16 if device == "cuda" else 8),
        (16 * one, 100.0, 16),
        (0, 16.0, 16 if device == "cuda" else 8),
        (0, 7.9, 6),  # three parts of 16
        (0, 1.0, 1),
    ):
        memory = Memory(0, 0, 0, activations, runtime=0)
        memory = with_sampling(memory, own, SMALL, Machine(device, "", 1, "fp32", 2), FACTS, width)
        limit = int(max(room * one, activations))
        found = generated_together(
            memory, own, SMALL, Machine(device, "", 1, "fp32", 2), FACTS, width, limit
        )
        assert found == expected, (activations, room)


def test_what_is_said_is_done_and_counted() -> None:
    made = plan(generation_batch_size=3)
    assert made.generation_batch == 3
    assert made.memory["sampling"] == generating(made.manifest, SMALL, FACTS, "cpu", 3, 4)
    assert plan(generation_batch_size=99).generation_batch == 16
    assert plan().generation_batch == 16
    sft = make_plan(manifest_for("lora"), identity("lora"), SMALL, MACHINE, FACTS, ENVIRONMENT)
    assert (sft.generation_batch, "sampling" in sft.memory) == (0, False)


def test_what_cannot_be_sampled_is_refused_before_anything_is_loaded() -> None:
    """Long answers need more than the training: 10⁶ tokens are 96 MB of keys and values."""
    facts = replace(FACTS, longest=10**6 + 12)
    shape = replace(SMALL, max_positions=10**7)
    small = Machine("cuda", "test", GIB // 4, "fp32", 2)
    given = manifest(max_completion=10**6)
    with pytest.raises(Refused, match=r"training needs .* at a micro batch of 1") as caught:
        make_plan(given, identity("lora"), shape, small, facts, ENVIRONMENT)
    assert "sampling 0." in str(caught.value.hint)


def test_an_engine_beside_the_training_has_its_share() -> None:
    """Of a card 60 %, of which the plan gives the training nothing; of a CPU its own weights."""
    card = Machine("cuda", "test", 10 * GIB, "fp32", 2)
    made = plan(card, engine="vllm")
    assert made.memory["engine"] == int(0.6 * 10 * GIB)
    assert made.generation_batch == 0
    assert "sampling" not in made.memory
    on_cpu = plan(engine="vllm")
    assert on_cpu.memory["engine"] == 4 * SMALL.parameters + 2 * GIB
    full = Machine("cuda", "test", 10 * GIB, "fp32", 2, total=17 * GIB)
    with pytest.raises(Exception, match=r"training needs 10\.26 GiB"):
        plan(full, engine="vllm")


@pytest.mark.parametrize(
    ("precision", "device", "engine", "allowed"),
    [
        ("fp32", "cpu", "huggingface", 1e-3),
        ("fp32", "cpu", "vllm", 1e-3),
        ("fp32", "cuda", "huggingface", 1e-3),
        ("fp32", "cuda", "vllm", 0.5),  # the engine computes in bfloat16 there
        ("bf16", "cuda", "huggingface", 0.5),
        ("bf16", "cpu", "huggingface", 0.5),
        ("fp16", "cuda", "vllm", 0.5),
    ],
)
def test_what_is_rounded_is_allowed(
    precision: Any, device: str, engine: str, allowed: float
) -> None:
    assert allowed_mismatch(manifest(engine=engine), precision, device) == allowed
    said = manifest(engine=engine, max_mismatch=0.07)
    assert allowed_mismatch(said, precision, device) == 0.07


def test_a_bound_that_rounding_alone_breaks_is_refused_in_the_plan() -> None:
    """Not at the first step, when base, rows and model have been loaded."""
    card = Machine("cuda", "test", 100 * GIB, "bf16", 2)
    with pytest.raises(InvalidInput, match=r"`objective.max_mismatch` is 0.001, and the trainer"):
        plan(card, max_mismatch=1e-3)
    with pytest.raises(InvalidInput, match="the engine computes on this GPU in bf16"):
        plan(card, max_mismatch=1e-3, engine="vllm", train={"precision": "fp32"})
    plan(card, max_mismatch=1e-3, train={"precision": "fp32"})
    plan(card, max_mismatch=0.05)
    plan(max_mismatch=1e-3)
