"""Half-done builds that no plan made now can go on with, and what holds of a training that did."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.building.record import (
    Stages,
    _divides,
    _still_holds,
    left_behind,
    unfinished,
)
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.building.run import _room
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.digests import TRAINING_SEMANTICS
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.training.events import EventLog
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)

PACKAGES = {"torch": "2", "ruff": "1"}
PLAN: Any = SimpleNamespace(
    manifest=SimpleNamespace(
        adapter=SimpleNamespace(name="tickets"),
        base=SimpleNamespace(quantization="none"),
        train=SimpleNamespace(optimizer="adamw"),
    ),
    packages=PACKAGES,
)
OTHER_PACKAGES = PACKAGES | {"torch": "3"}
DATA_PACKAGES = PACKAGES | {"ruff": "2"}  # rows are digested: these are no reason


@pytest.mark.parametrize(
    ("name", "done", "semantics", "packages", "what"),
    [
        ("tickets", (), TRAINING_SEMANTICS, PACKAGES, None),
        ("tickets", (), None, PACKAGES, "another version of adapterworks"),
        ("tickets", (), 99, PACKAGES, "another version of adapterworks"),
        (
            "tickets",
            (),
            TRAINING_SEMANTICS,
            OTHER_PACKAGES,
            "other versions of the packages it needs",
        ),
        ("tickets", (), TRAINING_SEMANTICS, DATA_PACKAGES, None),
        ("tickets", ("train", "publish"), None, PACKAGES, None),
        ("tickets-eu", (), None, PACKAGES, None),
    ],
    ids=["ours", "old", "other code", "other packages", "data", "published", "of another adapter"],
)
def test_it_is_found_where_it_cannot_go_on(
    tmp_path: Path,
    name: str,
    done: tuple[str, ...],
    semantics: int | None,
    packages: dict[str, str],
    what: str | None,
) -> None:
    folder = tmp_path / f"{name}-0123456789ab"
    folder.mkdir()
    plan = {"manifest": {"adapter": {"name": name}}, "packages": packages}
    record = {"plan": plan, "created": "", "done": {stage: {} for stage in done}}
    if semantics is not None:
        record["semantics"] = semantics
    (folder / "build.json").write_text(json.dumps(record))
    (tmp_path / "tickets-empty").mkdir()
    assert left_behind(tmp_path, PLAN) == ([] if what is None else [(folder, what)])


@pytest.fixture
def plan(tiny: Path) -> Plan:
    facts = facts_of(encoded_rows(32), encoded_rows(8))
    return make_plan(
        manifest_for("lora"), identity("lora"), read_shape(tiny), MACHINE, facts, ENVIRONMENT
    )


def test_a_stage_is_done_again_when_what_it_depends_on_has_changed(
    tmp_path: Path, plan: Plan
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    stages = Stages(tmp_path, plan, log)
    assert stages.once("train", "sha256:1", lambda: {"n": 1}) == {"n": 1}
    assert Stages(tmp_path, plan, log).once("train", "sha256:1", lambda: {"n": 2}) == {"n": 1}
    assert Stages(tmp_path, plan, log).once("train", "sha256:2", lambda: {"n": 3}) == {"n": 3}


def test_another_publication_of_one_training_begins_anew_and_keeps_its_micro_batch(
    tmp_path: Path, plan: Plan
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    first = Stages(tmp_path, plan.model_copy(update={"micro_batch": 2}), log)
    first.put("publish", first.plan.digest, {})
    assert not unfinished(tmp_path)
    tagged = plan.manifest.adapter.model_copy(update={"tags": ("icd",)})
    other = plan.model_copy(
        update={"manifest": plan.manifest.model_copy(update={"adapter": tagged})}
    )
    assert Stages(tmp_path, other, log).plan.micro_batch == plan.micro_batch
    assert unfinished(tmp_path)
    first = Stages(tmp_path, plan.model_copy(update={"micro_batch": 2}), log)
    (tmp_path / "train").mkdir()
    assert Stages(tmp_path, other, log).plan.micro_batch == 2


def planned(plan: Plan, micro: int, total: int, **train: Any) -> Plan:
    """The plan with so many rows at a time, which take so much memory."""
    table = plan.manifest.train.model_copy(update=train)
    manifest = plan.manifest.model_copy(update={"train": table})
    memory = {**plan.memory, "total": total}
    return plan.model_copy(update={"micro_batch": micro, "memory": memory, "manifest": manifest})


def test_an_unfinished_training_goes_on_with_the_micro_batch_that_it_is_told(
    tmp_path: Path, plan: Plan
) -> None:
    """It was killed for want of memory, and a smaller one is what the message advises."""
    log = EventLog(tmp_path / "events.jsonl")
    first = Stages(tmp_path, planned(plan, 8, 800), log)
    (tmp_path / "train").mkdir()
    told = Stages(tmp_path, planned(plan, 1, 100, micro_batch_size=1), log).plan
    assert told.digests.train == first.plan.digests.train
    assert (told.micro_batch, told.memory["total"]) == (1, 100)
    again = Stages(tmp_path, planned(plan, 2, 900, gradient_checkpointing=True), log).plan
    assert (again.micro_batch, again.memory["total"]) == (2, 900)


def test_an_unfinished_training_goes_on_with_what_it_computes_once(
    tmp_path: Path, plan: Plan
) -> None:
    """Other micro batches, for which there is room now, would not be worth it; these still are."""
    log = EventLog(tmp_path / "events.jsonl")
    Stages(tmp_path, planned(plan, 4, 400).model_copy(update={"shared_prefix": 9}), log)
    (tmp_path / "train").mkdir()
    later = planned(plan, 16, 1600).model_copy(update={"shared_prefix": 0})
    held = Stages(tmp_path, later, log).plan
    assert (held.micro_batch, held.shared_prefix) == (4, 9)


def test_an_unfinished_training_generates_as_many_answers_as_it_is_told(plan: Plan) -> None:
    """Where generating took the most memory unforeseen, what is planned is the same total."""
    begun = {"manifest": {"train": plan.manifest.train.model_dump(mode="json"),
                          "objective": {"generation_batch_size": 8}},
             "memory": {"total": plan.memory["total"]}}  # fmt: skip
    for count, holds in ((8, True), (4, False)):
        said = {**begun["manifest"], "objective": {"generation_batch_size": count}}
        assert (_divides(begun["manifest"]) == _divides(said)) is holds
    assert _still_holds({**begun, "manifest": {**begun["manifest"], "objective": {}}}, plan)
    assert not _still_holds(begun, plan), "it was asked for, and is not any more"


def test_an_unfinished_training_keeps_its_micro_batch_as_long_as_it_fits(
    tmp_path: Path, plan: Plan
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    Stages(tmp_path, planned(plan, 4, 400), log)
    (tmp_path / "train").mkdir()
    more_is_free = Stages(tmp_path, planned(plan, 8, 800), log).plan
    assert (more_is_free.micro_batch, more_is_free.memory["total"]) == (4, 400)
    less_is_free = Stages(tmp_path, planned(plan, 2, 200), log).plan
    assert (less_is_free.micro_batch, less_is_free.memory["total"]) == (2, 200)


def test_a_finished_training_is_told_of_as_it_was_done(tmp_path: Path, plan: Plan) -> None:
    """What is left of its build (a gate, say) is planned anew, and the lock tells of the
    training."""
    log = EventLog(tmp_path / "events.jsonl")
    stages = Stages(tmp_path, planned(plan, 8, 800), log)
    (tmp_path / "train").mkdir()
    stages.put("train", plan.digests.train, {})
    told = Stages(tmp_path, planned(plan, 1, 100, micro_batch_size=1), log).plan
    assert (told.micro_batch, told.memory["total"]) == (8, 800)


@pytest.mark.parametrize("done", [False, True])
def test_a_training_that_goes_on_reserves_its_memory_and_one_that_is_done_none(
    tmp_path: Path, plan: Plan, done: bool
) -> None:
    """Two builds of a machine that was started anew both come back to their checkpoints."""
    stages = Stages(tmp_path, plan, EventLog(tmp_path / "events.jsonl"))
    (tmp_path / "train" / "checkpoints").mkdir(parents=True)
    if done:
        stages.put("train", plan.digests.train, {})
    assert stages.has_training
    here = Reservations(tmp_path / "home", detect=lambda: MACHINE)
    with _room(here, stages):
        reserved = MACHINE.memory - here.machine().memory
    # This process may take some of it at once, which is not free then.
    assert reserved == 0 if done else reserved > 0


def test_a_training_that_was_taken_over_is_told_of_as_it_was_done_after_a_kill_too(
    tmp_path: Path, plan: Plan
) -> None:
    """A build dies after it took a release's training and goes on where other code is installed."""
    log = EventLog(tmp_path / "events.jsonl")
    stages = Stages(tmp_path, plan, log)
    (tmp_path / "train").mkdir()
    there = {"code": {"version": "0", "digest": "sha256:there"}, "packages": {"numpy": "1"}}
    stages.use(plan.model_copy(update=there), "3.10")
    stages.put("train", plan.digests.train, {}, reused={"ref": "a@1", "digest": "sha256:a"})
    again = Stages(tmp_path, plan, log)
    assert {key: getattr(again.plan, key) for key in there} == there
    assert again.python == "3.10"
