"""The plan's numbers, worked out by hand: steps, warm-up, tokens, disk; and where it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from adapterworks.builders.methods import METHODS
from adapterworks.builders.plan import fitted
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.plan import Plan, make_plan, with_seconds
from adapterworks.manifests.errors import InvalidInput
from tests.builders.build_support import ENVIRONMENT, MACHINE, identity, manifest_for
from tests.builders.plan.small import SMALL

GPU = Machine("cuda", "A10", 24 << 30, "bf16", 8)


def facts(rows: int = 33, length: int = 20, **more: Any) -> DataFacts:
    """Rows of equal length, three tokens of each learnt."""
    given = {"shared": 4, "sources": ({"source": "a.jsonl", "digest": "sha256:1"},)} | more
    return DataFacts({"train": rows}, {"train": "sha256:1"}, (length,) * rows, (3,) * rows, **given)


def plan(
    kind: str = "lora", data: DataFacts | None = None, on: Machine = MACHINE, **train: Any
) -> Plan:
    train.setdefault("method", {"rank": 2} if kind in ("lora", "qlora", "dora") else {})
    manifest = manifest_for(kind, **train)
    return make_plan(manifest, identity(kind), SMALL, on, data or facts(), ENVIRONMENT)


@pytest.mark.parametrize(
    ("train", "steps", "per_epoch", "every"),
    [
        ({"epochs": 3.0}, 15, 5, 4),  # 33 rows in steps of 8: the last has one
        ({"epochs": 1.5}, 8, 5, 2),  # 7.5 is rounded to the even
        ({"epochs": 0.01}, 1, 5, 1),  # at least one
        ({"epochs": 3.0, "max_steps": 7}, 7, 5, 2),
        ({"epochs": 3.0, "max_steps": 11}, 11, 5, 3),
        ({"epochs": 3.0, "max_steps": 99}, 15, 5, 4),
        ({"epochs": 3.0, "evaluations": 20}, 15, 5, 1),
        ({"epochs": 3.0, "evaluations": 2}, 15, 5, 8),
        ({"epochs": 2.0, "batch_size": 33}, 2, 1, 1),
        ({"epochs": 2.0, "batch_size": 32}, 4, 2, 1),
    ],
)
def test_steps_and_evaluations(
    train: dict[str, Any], steps: int, per_epoch: int, every: int
) -> None:
    made = plan(**train)
    assert (made.steps, made.steps_per_epoch, made.evaluate_every) == (steps, per_epoch, every)
    evaluated = {*range(every, steps, every), steps}  # and at the end
    assert len(evaluated) <= made.manifest.train.evaluations


def test_warm_up_is_a_share_of_the_steps() -> None:
    assert plan(epochs=3.0, warmup_ratio=0.25).warmup_steps == 4  # 3.75
    assert plan(epochs=3.0, warmup_ratio=0.0).warmup_steps == 0


def test_tokens_are_those_of_all_passes() -> None:
    """33 rows of 20 tokens, 3 of them learnt; 8 of 5 steps an epoch are 1.6 passes."""
    made = plan(epochs=1.5)
    assert (made.tokens, made.supervised_tokens) == (1056, 158)
    assert with_seconds(made, 100.0).seconds == 10.56
    assert made.longest == 20


def test_accumulation_makes_up_the_batch() -> None:
    long = facts(length=90, rows=64)  # 1,024 tokens are 11 rows of them
    made = plan(data=long, batch_size=64)
    assert (made.micro_batch, made.accumulation) == (8, 8)
    assert (plan(batch_size=8).micro_batch, plan(batch_size=8).accumulation) == (8, 1)


def test_parameters_and_their_share() -> None:
    made = plan()
    assert (made.trainable, made.parameters) == (512, 1272)
    assert made.trainable_share == pytest.approx(512 / 1272)
    whole = plan("full")
    assert (whole.trainable, whole.trainable_share) == (1272, 1.0)


def test_disk_is_two_checkpoints_the_best_weights_and_the_release() -> None:
    """Weights and two moments of 4 bytes, twice; the best weights while new ones replace them,
    twice 4; the release 8 a number, of a full training 5 a parameter."""
    assert plan().disk == 2 * 12 * 512 + 2 * 4 * 512 + 8 * 512
    assert plan("full").disk == 2 * 12 * 1272 + 2 * 4 * 1272 + 5 * 1272


def test_the_learning_rate_is_the_manifests_or_the_methods_with_its_source() -> None:
    usual = METHODS["lora"].learning_rate
    assert (plan().learning_rate, plan().learning_rate_source) == (usual.value, usual.source)
    given = plan(learning_rate=1e-3)
    assert (given.learning_rate, given.learning_rate_source) == (1e-3, "manifest")


def test_a_card_that_only_emulates_bfloat16_is_not_given_it() -> None:
    """Neither kernel of attention that keeps no scores takes it there."""
    old = Machine("cuda", "T4", 24 << 30, "fp16", 8)
    assert plan(on=old).precision == "fp16"
    with pytest.raises(InvalidInput, match=r"`train\.precision` `bf16` needs a GPU that computes"):
        plan(on=old, precision="bf16")
    assert plan(on=GPU, precision="bf16").precision == "bf16"


def test_the_precision_is_the_manifests_or_the_devices() -> None:
    assert plan(on=GPU).precision == "bf16"
    assert plan(on=GPU, precision="fp32").precision == "fp32"
    assert plan(on=GPU, precision="fp16").precision == "fp16"
    assert plan().precision == "fp32"
    # Half of the frozen weights' bytes, too.
    assert plan(on=GPU).memory["weights"] == 1272 * 2 + 4 * 512
    assert plan(on=GPU, precision="fp32").memory["weights"] == 1272 * 4 + 4 * 512


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On so small a base, attention is most of the work, and sharing would not pay."""
    assert plan().shared_prefix == 0
    monkeypatch.setattr(fitted, "sharing_pays", lambda *_: True)


@pytest.mark.parametrize(
    ("kind", "train", "shared"),
    [
        ("lora", {}, 4),
        ("lora", {"share_prefix": False}, 0),
        ("lora", {"packing": True, "group_by_length": False}, 0),
        ("lora", {"method": {"rank": 2, "dropout": 0.1}}, 0),
        ("lora", {"gradient_checkpointing": True}, 4),
        ("full", {"gradient_checkpointing": True}, 4),
        ("prompt-tuning", {}, 4),
        ("prompt-tuning", {"gradient_checkpointing": True}, 0),
    ],
)
def test_where_the_beginning_is_computed_once(
    kind: str, train: dict[str, Any], shared: int, worth_it: None
) -> None:
    assert plan(kind, **train).shared_prefix == shared


@pytest.mark.parametrize(
    ("objective", "train", "expected"),
    [
        ({"kind": "grpo"}, {}, (9, 4)),  # the shortest prompt has ten tokens, each answer the last
        ({"kind": "rloo"}, {}, (9, 4)),
        ({"kind": "grpo"}, {"micro_batch_size": 2}, (9, 2)),
        ({"kind": "grpo"}, {"micro_batch_size": 3}, (4, 3)),  # which would be parts of two groups
        ({"kind": "grpo"}, {"share_prefix": False}, (0, 2)),
        ({"kind": "ppo"}, {}, (4, 2)),  # learns from them in another order
    ],
)
def test_answers_to_one_prompt_are_computed_behind_it(
    objective: dict[str, Any], train: dict[str, Any], expected: tuple[int, int], worth_it: None
) -> None:
    more = {"rewards": ["exact_match"], "max_completion": 7}
    table = {**objective, "generations": 4, **more}
    data = replace(facts(2, shared=4), lengths=(17, 27), supervised=(7, 7))
    made = plan(data=data, batch_size=2, objective=table, **train)
    assert (made.shared_prefix, made.micro_batch) == expected


def behind(lengths: tuple[int, ...], answer: int, **train: Any) -> Plan:
    """A plan of four answers to each prompt, of this length with their prompt."""
    table = {"kind": "grpo", "generations": 4, "rewards": ["exact_match"], "max_completion": answer}
    data = replace(facts(2, shared=0), lengths=lengths, supervised=(answer,) * len(lengths))
    manifest = manifest_for("lora", objective=table, **train)
    shape = replace(SMALL, max_positions=10_000)
    small = replace(MACHINE, memory=256 << 20, total=256 << 20)
    return make_plan(manifest, identity("lora"), shape, small, data, ENVIRONMENT)


def test_a_small_group_is_no_smaller_micro_batch(worth_it: None) -> None:
    """Of a batch of eight prompts, eight answers stand side by side."""
    for batch, expected in ((4, (9, 4)), (8, (0, 8))):
        made = behind((17, 27), 7, batch_size=batch)
        assert (made.shared_prefix, made.micro_batch) == expected


def test_a_long_row_that_does_not_fit_behind_its_prompt_is_computed_by_itself(
    worth_it: None,
) -> None:
    """A mask of 5,000² booleans, and as many numbers in each of two layers, are 225 MB."""
    made = behind((5000, 5000), 10, batch_size=2)
    assert (made.shared_prefix, made.micro_batch) == (0, 1)
    assert made.memory["total"] < 128 << 20


@pytest.mark.parametrize(
    ("lengths", "answer", "train", "micro", "apart"),
    [
        ((30, 27), 20, {}, 4, 3),  # 30 + 3 · 20 tokens are three rows of 30
        ((31, 27), 20, {}, 4, 2),
        ((90, 27), 20, {}, 4, 1),
        ((30, 27), 20, {"share_prefix": False}, 2, 2),
    ],
)
def test_rows_apart_have_no_more_tokens_than_behind_their_prompt(
    lengths: tuple[int, ...],
    answer: int,
    train: dict[str, Any],
    micro: int,
    apart: int,
    worth_it: None,
) -> None:
    made = behind(lengths, answer, batch_size=2, **train)
    assert (made.micro_batch, rows_apart(made)) == (micro, apart)


def test_what_is_shared_is_computed_once_in_the_memory_too(worth_it: None) -> None:
    """8 rows of 20 tokens, 4 of them shared: 132 positions in place of 160; 24 labels; a mask of
    132² booleans, and as many numbers in each of two layers."""
    numbers, logits = 2 * (112 + 76 + 14) * 4, 10 * 12
    assert plan(batch_size=8).memory["activations"] == int(
        1.6 * (132 * numbers + 24 * logits)
    ) + 132**2 * (1 + 2 * 4)
    apart = plan(batch_size=8, share_prefix=False).memory["activations"]
    assert apart == int(1.6 * (160 * numbers + 24 * logits))


def test_a_row_may_fill_the_bases_positions_with_its_virtual_tokens() -> None:
    prompt = {"method": {"virtual_tokens": 30}}
    assert plan(data=facts(length=100)).longest == 100
    assert plan("prompt-tuning", facts(length=70), **prompt).longest == 70
    with pytest.raises(InvalidInput, match="rows of 101 tokens and 0 virtual tokens exceed") as one:
        plan(data=facts(length=101))
    assert one.value.hint == "set `train.max_length` to 100 or less"
    with pytest.raises(InvalidInput, match="rows of 71 tokens and 30 virtual tokens") as two:
        plan("prompt-tuning", facts(length=71), **prompt)
    assert two.value.hint == "set `train.max_length` to 70 or less"


def test_it_is_the_longest_sequence_that_must_fit_not_a_pair_of_them() -> None:
    pairs = facts(length=150, sequences=2, longest=80)
    assert plan(data=pairs).longest == 80


def test_what_only_a_gpu_can_do_is_planned_there() -> None:
    paged = plan(on=GPU, optimizer="paged-adamw-8bit")
    assert paged.memory["optimizer"] == 2 * 512
    for train in ({"optimizer": "paged-adamw-8bit"}, {"precision": "fp16"}):
        with pytest.raises(InvalidInput, match="needs a CUDA device"):
            plan(**train)
    assert plan(precision="bf16").precision == "bf16"


def test_packing_and_recomputing_are_refused_only_where_they_break() -> None:
    packed: dict[str, Any] = {"packing": True, "group_by_length": False}
    assert plan(**packed).memory
    for kind in ("prompt-tuning", "prefix-tuning", "p-tuning-v2"):
        with pytest.raises(InvalidInput, match=r"`train\.packing` cannot be used"):
            plan(kind, **packed)
    with pytest.raises(InvalidInput, match=r"`train\.gradient_checkpointing` cannot be used"):
        plan("prefix-tuning", gradient_checkpointing=True)


def test_the_rows_places_are_no_part_of_what_is_told_of_them() -> None:
    here = plan().sources
    elsewhere = facts(sources=({"source": "b/a.jsonl", "digest": "sha256:1"},))
    assert plan(data=elsewhere).sources == here
    other = facts(sources=({"source": "a.jsonl", "digest": "sha256:2"},))
    assert plan(data=other).sources != here


def test_a_plan_for_a_machine_elsewhere() -> None:
    gpu = MACHINE.of_kind("cuda", 80 << 30)
    whole = {"memory": 80 << 30, "total": 80 << 30}  # nothing else runs there
    assert gpu == replace(MACHINE, device="cuda", precision="bf16", **whole)
    assert gpu.of_kind("cpu", 1 << 30).precision == "fp32"


def test_a_plan_is_not_changed_in_place() -> None:
    made = plan()
    with pytest.raises(ValidationError, match="frozen"):
        made.steps = 1  # type: ignore[misc]


def test_a_plan_knows_what_is_learnt_and_how_it_is_served() -> None:
    made = plan()
    assert (made.objective, made.stage) == ("sft", "instruction tuning")
    assert made.servable.rank == 8  # the engine's next above 2
    text = manifest_for("lora")
    text = text.model_copy(update={"data": text.data.model_copy(update={"format": "text"})})
    other = make_plan(text, identity("lora"), SMALL, MACHINE, facts(), ENVIRONMENT)
    assert other.stage == "continued pre-training"
    assert {lint.key for lint in plan(learning_rate=0.5).lints} >= {"train.learning_rate"}
