"""Plans: pure, exact in their counts, and refusing what cannot run or be served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import BaseShape, read_shape
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.builders.training.model import build_model
from adapterworks.manifests.errors import InvalidInput, Refused
from tests.builders.build_support import (
    ENVIRONMENT,
    KINDS,
    MACHINE,
    TinyJob,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)

Make = Callable[..., TinyJob]
FACTS = facts_of(encoded_rows(32), encoded_rows(8))


def plan_for(
    kind: str,
    shape: BaseShape,
    *,
    machine: Machine = MACHINE,
    facts: DataFacts = FACTS,
    **train: Any,
) -> Plan:
    manifest = manifest_for(kind, **train)
    return make_plan(manifest, identity(kind), shape, machine, facts, ENVIRONMENT)


@pytest.fixture
def shape(tiny: Path) -> BaseShape:
    return read_shape(tiny)


@pytest.fixture
def llama7b() -> BaseShape:
    """Llama-2-7B's shape."""
    linears = [
        Linear(f"model.layers.{layer}.{name}", out, into)
        for layer in range(32)
        for name, out, into in (
            ("self_attn.q_proj", 4096, 4096),
            ("self_attn.k_proj", 4096, 4096),
            ("self_attn.v_proj", 4096, 4096),
            ("self_attn.o_proj", 4096, 4096),
            ("mlp.gate_proj", 11008, 4096),
            ("mlp.up_proj", 11008, 4096),
            ("mlp.down_proj", 4096, 11008),
        )
    ]
    other = 2 * 32000 * 4096 + 65 * 4096
    return BaseShape(32, 4096, 11008, 32, 32, 128, 32000, 4096, tuple(linears), other)


@pytest.mark.train
@pytest.mark.parametrize("kind", KINDS)
def test_planned_parameters_are_those_that_are_trained(job: Make, kind: str) -> None:
    planned = job(kind)
    model = build_model(planned.base, planned.plan)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == planned.plan.trainable


def test_equal_inputs_give_equal_plans_and_estimates_do_not_count(shape: BaseShape) -> None:
    plan = plan_for("lora", shape)
    assert plan == plan_for("lora", shape)
    busy = replace(MACHINE, memory=MACHINE.memory // 2)
    assert plan.digest == plan_for("lora", shape, machine=busy).digest
    assert plan.digest != plan_for("lora", shape, seed=43).digest
    other = replace(FACTS, encoded={"train": "sha256:other"})
    assert plan.digest != plan_for("lora", shape, facts=other).digest


def test_a_plan_survives_json(shape: BaseShape) -> None:
    plan = plan_for("adalora", shape, epochs=6.0)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_steps_follow_rows_epochs_and_the_cap(shape: BaseShape) -> None:
    assert plan_for("lora", shape, epochs=2.0).steps == 8
    assert plan_for("lora", shape, epochs=0.5).steps == 2
    assert plan_for("lora", shape, max_steps=3).steps == 3


def test_what_does_not_fit_is_refused_with_what_would(llama7b: BaseShape) -> None:
    """caikit-nlp #226: no memory dry run. A 24 GB card does not hold 7B in full, and qlora fits."""
    card = Machine("cuda", "A10", 24 << 30, "bf16", 8)
    with pytest.raises(Refused, match=r"this machine has 24\.00 GiB") as caught:
        plan_for("full", llama7b, machine=card)
    assert "lora" in str(caught.value.hint)
    plan = plan_for("qlora", llama7b, machine=card)
    assert plan.memory["total"] < 24 << 30
    assert plan.servable.rank == 16


@pytest.mark.parametrize(
    ("kind", "train", "said"),
    [
        ("lora", {"optimizer": "paged-adamw-8bit"}, "needs a CUDA device"),
        ("lora", {"precision": "fp16"}, "needs a CUDA device"),
        ("prefix-tuning", {"packing": True, "group_by_length": False}, "`train.packing`"),
        ("prefix-tuning", {"gradient_checkpointing": True}, "`train.gradient_checkpointing`"),
        ("adalora", {"max_steps": 1}, "no step left to prune"),
        *(
            ("lora", {"objective": {"kind": kind, "rewards": ["chrf"]}, "processes": 2}, "one proc")
            for kind in ("grpo", "rloo")
        ),
        ("lora", {"method": {"target_modules": ["c_attn"]}}, "`c_attn`"),
        ("prompt-tuning", {"method": {"virtual_tokens": 1000}}, "exceed the base's"),
    ],
)
def test_impossible_combinations_are_refused(
    shape: BaseShape, kind: str, train: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        plan_for(kind, shape, **train)
    assert caught.value.hint


def test_unusual_choices_are_linted_with_a_source(shape: BaseShape) -> None:
    plan = plan_for("lora", shape, learning_rate=0.5, epochs=9.0, method={"alpha": 500})
    keys = {lint.key for lint in plan.lints}
    assert {"train.learning_rate", "train.epochs", "method.alpha"} <= keys
    assert all(lint.source for lint in plan.lints)


def test_ranks_are_those_the_engine_allows(shape: BaseShape) -> None:
    assert plan_for("lora", shape, method={"rank": 12}).servable.rank == 16
    assert plan_for("adalora", shape).servable.rank == 16


def test_engine_ranks_are_vllms() -> None:
    """The pinned engine's own list (vllm/config/lora.py), read from its source, not imported."""
    import ast
    from importlib.util import find_spec

    from adapterworks.builders.methods.technique import ENGINE_RANKS

    found = find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse((Path(found.origin).parent / "config" / "lora.py").read_text())
    (literal,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MaxLoRARanks"
    )
    assert isinstance(literal, ast.Subscript)
    assert ast.literal_eval(literal.slice) == ENGINE_RANKS


def test_the_environment_names_the_pins() -> None:
    found = environment()
    assert found.packages["torch"].startswith("2.13")
    assert found.code["digest"].startswith("sha256:")


def test_a_shared_beginning_is_used_where_it_saves_more_than_it_costs(llama7b: BaseShape) -> None:
    """8 rows of 60 tokens that share 40, and 8 of 512 that share 4: those took 2.9 times as long
    with the beginning shared."""
    card = Machine("cuda", "H100", 80 << 30, "bf16", 8)

    def shared(length: int, of: int) -> int:
        facts = replace(FACTS, lengths=(length,) * 32, supervised=(8,) * 32, shared=of)
        planned = plan_for("lora", llama7b, machine=card, facts=facts, micro_batch_size=8)
        return planned.shared_prefix

    assert shared(60, 40) == 40
    assert shared(512, 4) == 0


def test_a_beginning_is_not_shared_past_a_window(shape: BaseShape) -> None:
    longest = FACTS.longest_sequence
    for window, expected in ((longest - 1, 0), (longest, FACTS.shared), (None, FACTS.shared)):
        assert plan_for("lora", replace(shape, window=window)).shared_prefix == expected
    assert plan_for("lora", replace(shape, mixes=("conv",))).shared_prefix == 0


@pytest.mark.parametrize(
    ("kind", "changes", "train", "why"),
    [
        ("prefix-tuning", {"uniform_cache": False}, {}, "keys and values of one shape"),
        ("prefix-tuning", {"window": 20}, {}, "do not fit into the window of 20"),
        ("full", {"experts": True}, {}, "what its experts learn cannot be served"),
        ("lora", {"mixes": ("conv",)}, {"packing": True}, "its conv layers would mix"),
    ],
)
def test_what_a_base_cannot_do_is_refused_with_the_reason(
    shape: BaseShape, kind: str, changes: dict[str, Any], train: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        plan_for(kind, replace(shape, **changes), **train)


def test_transposed_matrices_are_adapted_and_not_cut(shape: BaseShape) -> None:
    turned = replace(shape, linears=tuple(replace(x, transposed=True) for x in shape.linears))
    for odd in (turned, replace(shape, experts=True)):  # PEFT's factors would be rounded instead
        with pytest.raises(InvalidInput, match="would not be rounded as an export rounds"):
            plan_for("lora", odd, quantization_aware="int8")
    plan_for("lora", turned)
    for kind in ("full", "dora"):
        with pytest.raises(InvalidInput, match="stored transposed"):
            plan_for(kind, turned)


def test_processes_share_a_cpus_memory_and_have_a_card_each(shape: BaseShape) -> None:
    one, two = (plan_for("lora", shape, processes=count) for count in (1, 2))
    assert one.digests == two.digests, "the order of a sum"
    assert (one.micro_batch, two.micro_batch, two.accumulation) == (8, 4, 1)
    needed = one.memory["total"]
    tight = replace(MACHINE, memory=int(needed / 0.9) + 1)
    assert plan_for("lora", shape, machine=tight, micro_batch_size=8).micro_batch == 8
    with pytest.raises(Refused, match="for each process"):
        plan_for("lora", shape, machine=tight, micro_batch_size=8, processes=2)
    cards = Machine("cuda", "A10", 24 << 30, "bf16", 8, cards=2)
    plan_for("lora", shape, machine=cards, processes=2)
    with pytest.raises(InvalidInput, match="3, and this machine has 2 GPUs"):
        plan_for("lora", shape, machine=cards, processes=3)
    with pytest.raises(InvalidInput, match=r"more than `train.batch_size` 8"):
        plan_for("lora", shape, processes=9)
    plan_for("lora", shape, processes=2, accelerate_config="a.yaml")
