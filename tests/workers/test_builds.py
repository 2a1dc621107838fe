"""Jobs that are built for real, on the tiny base: from the command line and for tenants."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result

from adapterworks.app import App
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.building.result import UNTOLD
from adapterworks.builders.plan.machine import Machine
from adapterworks.cli.jobs import command as jobs
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Refused
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.files import Files, NewFile
from adapterworks.registry.jobs.fine_tuning import Asked, Rows, Start, continued
from adapterworks.registry.jobs.folders import LOG, folder_of
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, PROOF_LANE, Job, NewJob, Stop
from adapterworks.registry.jobs.waits import waits_of
from adapterworks.settings import Settings
from adapterworks.workers import fine_tuning
from adapterworks.workers.worker import Worker
from tests.builders.workshop import Workshop
from tests.warm.python import COMMAND, warm, warm_python

pytestmark = pytest.mark.train
ADAPTER = "adapter/adapter_model.safetensors"
TEMPLATE = {
    "train": {"max_length": 64, "learning_rate": 1e-2, "evaluations": 8},
    "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 4},
    "serve": {"max_conversion_error": 0.9},
}


def work(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run what is queued; returns how many jobs were begun."""
    app = workshop.app
    for name, value in workshop.environment.items():
        monkeypatch.setenv(name, value)
    with warm():
        return Worker(app.registry.database, app.settings.home, say=print).run(once=True)


def fine_tune(
    workshop: Workshop,
    *,
    template: dict[str, Any] | None = None,
    kind: str = "supervised",
    **changes: Any,
) -> Job:
    """Queue a fine-tuning job of a tenant on the workshop's rows."""
    app = workshop.app
    files = Files(app.registry)
    app.registry.require_own_store()
    rows = {}
    for split in ("train", "test"):
        path = workshop.folder / f"{split}.jsonl"
        new = NewFile("t", "fine-tune", path.name, path, digest_file(path), path.stat().st_size)
        file = files.put(new)
        rows[split] = Rows(file=file.id, blob=file.blob, kind=kind)
    values: dict[str, Any] = {
        "name": "ft.t.mine",
        "model": "tiny",
        "base": str(workshop.base),
        "quantization": "none",
        "base_digest": app.bases.ensure(str(workshop.base)).digest,
        "method": "supervised",
        "seed": 7,
        "training": rows["train"],
        "validation": rows["test"],
        "n_epochs": 2,
        "template": template or TEMPLATE,
        "who": "tenant",
    }
    asked = Asked(**{**values, **changes})
    new_job = NewJob(FINE_TUNING, "t", BUILD_LANE, asked.model_dump(mode="json"))
    with app.registry.database.write() as connection:
        return putting.put(connection, new_job, now=time.time())


def now(workshop: Workshop, job: Job) -> Job:
    with workshop.app.registry.database.read() as connection:
        return lookup.get(connection, job.id)


def ask(workshop: Workshop, *arguments: str) -> Result:
    result = workshop.invoke(jobs, *arguments)
    assert result.exit_code == 0, result.output or result.exception
    return result


def left_over(workshop: Workshop, job: Job) -> set[str]:
    """Where a job's training rows are under the home, but for the files that the tenant has."""
    home = workshop.app.settings.home
    row = (workshop.folder / "train.jsonl").read_bytes().splitlines()[0]
    assert (folder_of(home, job.id) / LOG).is_file()
    found = (path for path in home.rglob("*") if path.is_file() and row in path.read_bytes())
    return {str(path) for path in found if "blobs" not in path.relative_to(home).parts}


@pytest.mark.slow
def test_a_build_is_queued_run_and_told_of(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = workshop.manifest(epochs=1)
    job = workshop.json(manifest, "--detach")["id"]
    listed = json.loads(ask(workshop, "list", "--json").stdout)
    assert [(entry["id"], entry["state"]) for entry in listed] == [(job, "queued")]
    assert work(workshop, monkeypatch) == 1
    shown = json.loads(ask(workshop, "show", job, "--json").stdout)
    assert (shown["state"], shown["result"]["ref"]) == ("succeeded", "tiny@1")
    assert shown["result"]["alias"] == "candidate"
    told = ask(workshop, "logs", job, "--follow").stdout
    assert "training has begun" in told
    assert "checkpoint at step" in told
    # The same plan as the same manifest built at once.
    again = workshop.json(manifest)
    assert (again["ref"], again["created"]) == ("tiny@1", False)
    assert again["plan"] == shown["result"]["plan"]


def test_a_manifest_that_has_changed_is_not_built(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = workshop.json(workshop.manifest(epochs=1), "--detach")["id"]
    workshop.manifest(epochs=2)
    work(workshop, monkeypatch)
    shown = json.loads(ask(workshop, "show", job, "--json").stdout)
    assert (shown["state"], shown["code"]) == ("failed", "manifest_changed")
    assert workshop.registry().versions("tiny") == []


def test_a_job_is_what_its_manifest_builds_by_hand(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path
) -> None:
    job = fine_tune(workshop)
    assert work(workshop, monkeypatch) == 1
    built = now(workshop, job)
    # Trained, judged, published; not proved yet, so it has not succeeded.
    assert (built.state, built.lane[: len(PROOF_LANE)]) == ("queued", PROOF_LANE)
    assert built.result["ref"] == "ft.t.mine@1"
    assert built.result["trained_tokens"] > 0
    resolved = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.0}
    assert built.result["hyperparameters"] == resolved
    assert left_over(workshop, job) == set()
    with workshop.app.registry.database.read() as connection:
        story = events.since(connection, job.id, 0)
        points, _ = events.checkpoints(connection, job.id)
    steps = [event.data["step"] for event in story if event.kind == events.METRICS]
    assert steps == list(range(1, 7))
    assert points[0].step == 6
    assert {"step", "train_loss", "valid_loss"} == set(points[0].metrics)
    other = tmp_path / "other"
    other.mkdir()
    by_hand = Workshop(other, tiny)
    ask(workshop, "show", job.id, "--into", str(other))
    assert (other / "manifest.toml").read_text() == ask(
        workshop, "show", job.id, "--manifest"
    ).stdout
    twin = by_hand.json(str(other / "manifest.toml"))
    assert twin["plan"] == built.result["plan"]
    weights = [
        shop.registry().read(digest, ADAPTER)
        for shop, digest in ((workshop, built.result["digest"]), (by_hand, twin["digest"]))
    ]
    assert weights[0] == weights[1]


GRADER = {
    "type": "multi",
    "name": "short",
    "graders": {
        "right": {
            "type": "string_check",
            "name": "right",
            "operation": "eq",
            "input": "{{sample.output_text}}",
            "reference": "{{item.code}}",
        },
        "alike": {
            "type": "string_check",
            "name": "alike",
            "operation": "ilike",
            "input": "{{sample.output_text}}",
            "reference": "a",
        },
    },
    "calculate_output": "right + 0.5 * alike",
}


@pytest.mark.slow
def test_a_job_that_learns_by_a_grader_passes_its_gates_and_is_what_its_manifest_builds(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path
) -> None:
    for split, count in (("train", 16), ("test", 6)):
        rows = [
            {"messages": [{"role": "user", "content": f"{split} {number}?"}], "code": f"A{number}"}
            for number in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (workshop.folder / f"{split}.jsonl").write_text(text)
    gates = [{"metric": "exact_match", "min_gain": -0.5}]
    evaluated = {**TEMPLATE["evaluate"], "gates": gates}
    job = fine_tune(
        workshop,
        template={**TEMPLATE, "evaluate": evaluated},
        kind="reinforcement",
        method="reinforcement",
        grader=GRADER,
        asked_grader=GRADER,
        answer="code",
        compute_multiplier=0.5,
        n_epochs=1,
    )
    assert work(workshop, monkeypatch) == 1
    built = now(workshop, job)
    assert (built.state, built.lane[: len(PROOF_LANE)]) == ("queued", PROOF_LANE), built.message
    assert built.result["hyperparameters"]["compute_multiplier"] == 0.5
    report = json.loads(workshop.registry().read(built.result["digest"], "report.json"))
    assert [gate["passed"] for gate in report["gates"]] == [True]
    assert set(report["metrics"]) == {"exact_match", "grader:short"}
    with workshop.app.registry.database.read() as connection:
        story = events.since(connection, job.id, 0)
    steps = [event for event in story if event.kind == events.METRICS]
    assert [event.data["step"] for event in steps] == [1, 2]
    assert all(0.0 <= event.data["train_mean_reward"] <= 1.5 for event in steps)
    assert any("mean reward of the validation" in event.message for event in story)
    other = tmp_path / "other"
    other.mkdir()
    ask(workshop, "show", job.id, "--into", str(other))
    by_hand = Workshop(other, tiny)
    twin = by_hand.json(str(other / "manifest.toml"))
    assert twin["plan"] == built.result["plan"]
    assert by_hand.registry().read(twin["digest"], ADAPTER) == workshop.registry().read(
        built.result["digest"], ADAPTER
    )


@pytest.mark.slow
def test_a_release_is_continued_as_its_manifest_by_hand(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = fine_tune(workshop)
    assert work(workshop, monkeypatch) == 1
    ref = now(workshop, first).result["ref"]
    before = workshop.registry().release(now(workshop, first).result["digest"])
    method = continued(before.declared("method"))
    job = fine_tune(workshop, start=Start(ref=ref, method=method), n_epochs=1, seed=8)
    assert work(workshop, monkeypatch) == 1
    built = now(workshop, job)
    assert built.result.get("ref") == "ft.t.mine@2", built.message
    release = workshop.registry().release(built.result["digest"])
    parents = [(parent.relation, parent.digest) for parent in release.parents]
    assert ("start", before.digest) in parents
    folder = tmp_path / "by-hand"
    ask(workshop, "show", job.id, "--into", str(folder))
    assert f'from = "{ref}"' in (folder / "manifest.toml").read_text()
    twin = workshop.json(str(folder / "manifest.toml"))
    assert (twin["plan"], twin["digest"]) == (built.result["plan"], built.result["digest"])
    assert not twin["created"]


@pytest.mark.slow
def test_a_failed_gate_fails_the_job_and_keeps_the_release(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = [{"metric": "exact_match", "min_gain": 0.99}]
    evaluate = {**TEMPLATE["evaluate"], "gates": gates}
    template = {**TEMPLATE, "evaluate": evaluate}
    job = fine_tune(workshop, template=template, learning_rate_multiplier=1e-6, n_epochs=1)
    work(workshop, monkeypatch)
    failed = now(workshop, job)
    assert (failed.state, failed.code) == ("failed", "gate_failed")
    assert "exact_match: gain over base" in failed.message
    assert failed.result["ref"] == "ft.t.mine@1"
    assert workshop.registry().history("ft.t.mine") == []
    # The same job again names the same release, which has not become better meanwhile.
    again = fine_tune(workshop, template=template, learning_rate_multiplier=1e-6, n_epochs=1)
    work(workshop, monkeypatch)
    assert now(workshop, again).code == "gate_failed"
    assert len(workshop.registry().versions("ft.t.mine")) == 1


def test_another_base_of_the_same_name_is_not_trained_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(workshop, base_digest="sha256:" + "0" * 64)
    work(workshop, monkeypatch)
    assert now(workshop, job).code == "other_base"


@pytest.mark.parametrize("action", ["stop", "warn"])
def test_an_alarm_tells_a_tenant_what_a_job_can_change(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """And no key of a manifest, nor a command, which are not the tenant's."""
    job, app = fine_tune(workshop), workshop.app
    alarm = {"event": "alarm", "step": 9, "action": action, "message": "all answers are one"}

    def build(*_: Any, listeners: Any, **__: Any) -> None:
        for listener in listeners:
            listener(alarm)
        raise Refused("it went wrong", hint="set `objective.alarms.entropy`")

    monkeypatch.setattr("adapterworks.builders.building.run.run_build", build)
    with app.registry.database.write() as connection:
        claimed = queue.claim(connection, [BUILD_LANE], holder="me", now=time.time())
    assert claimed is not None
    _, claim = claimed
    if action == "warn":  # then it was something else
        with pytest.raises(Refused, match="it went wrong"):
            fine_tuning.run(app, job, claim)
        return
    outcome = fine_tuning.run(app, job, claim)
    assert isinstance(outcome, Stop)
    assert (outcome.code, "step 9: all answers are one" in outcome.message) == ("alarm", True)
    assert "`learning_rate_multiplier`" in outcome.message
    assert "objective" not in outcome.message
    with app.registry.database.read() as connection:
        story = [event.message for event in events.since(connection, job.id, 0)]
    assert "alarm at step 9: all answers are one" in story


def test_a_release_whose_report_is_gone_is_not_handed_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan has been built; whether its gates passed then, nobody knows any more."""
    job, app = fine_tune(workshop), workshop.app
    given = {"gates": [{"why": "exact_match: too low", "passed": False}]}
    for report, said in (({}, UNTOLD), (given, "exact_match: too low")):
        built = SimpleNamespace(
            ref="ft.t.mine@1",
            digest="sha256:1",
            created=False,
            plan=SimpleNamespace(digest="sha256:2", base=SimpleNamespace(digest="sha256:3")),
            reasons=(),
            report=report,
            servable=object(),
        )
        monkeypatch.setattr(
            "adapterworks.builders.building.run.run_build", lambda *_, built=built, **__: built
        )
        monkeypatch.setattr(fine_tuning, "_tokens", lambda *_: 0)
        with app.registry.database.write() as connection:
            claimed = queue.claim(connection, [BUILD_LANE], holder="me", now=time.time())
        assert claimed is not None
        outcome = fine_tuning.run(app, job, claimed[1])
        assert isinstance(outcome, Stop)
        assert (outcome.code, outcome.message) == ("gate_failed", said)
        job = fine_tune(workshop)


def test_what_no_build_can_do_fails_with_its_reason(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(workshop, base="no-such-base")
    work(workshop, monkeypatch)
    failed = now(workshop, job)
    assert (failed.state, failed.code) == ("failed", "not_found")
    assert left_over(workshop, job) == set()
    assert "hint:" in failed.message


@pytest.mark.slow
def test_a_paused_job_goes_on_where_it_was_and_ends_as_if_it_had_not(
    workshop: Workshop, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(workshop, n_epochs=40)
    process = subprocess.Popen(
        [warm_python(), "-c", COMMAND, "worker"],
        env=os.environ | workshop.environment,
        stderr=subprocess.DEVNULL,
    )
    workshop.wait_for_checkpoint(process)
    asked = ask(workshop, "pause", job.id).output
    assert asked == f"{job.id}: running, its worker is asked to stop\n"
    deadline = time.monotonic() + 240
    while now(workshop, job).state != "paused":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # kill -9 of an idle worker costs nothing; then somebody else goes on.
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workshop.registry().versions("ft.t.mine") == []
    assert ask(workshop, "resume", job.id).output == f"{job.id}: queued\n"
    assert work(workshop, monkeypatch) == 1
    built = now(workshop, job)
    with workshop.app.registry.database.read() as connection:
        told = [event.message for event in events.since(connection, job.id, 0)]
    assert any(message.startswith("resumed at step") for message in told)
    other = tmp_path / "other"
    other.mkdir()
    ask(workshop, "show", job.id, "--into", str(other))
    whole = Workshop(other, tiny)
    uninterrupted = whole.json(str(other / "manifest.toml"))
    assert workshop.registry().read(built.result["digest"], ADAPTER) == whole.registry().read(
        uninterrupted["digest"], ADAPTER
    )


def test_a_job_waits_for_memory_that_others_hold(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, database = fine_tune(workshop, n_epochs=1), workshop.app.registry.database
    much = Machine("cpu", "test", 1 << 44, "fp32", 2)
    with Reservations(workshop.home, detect=lambda: much).held(14 << 40, "`another`"):
        for attempt in range(1, queue.MOST_TRIED + 2):  # more often than a fault is tried
            assert work(workshop, monkeypatch) == 1
            waiting = now(workshop, job)
            assert (waiting.state, waiting.attempt, waiting.code) == ("queued", attempt, "")
            with database.write() as connection:
                left = connection.scalar(sa.select(schema.jobs.c.not_before)) - time.time()
                connection.execute(sa.update(schema.jobs).values(not_before=0.0))
            # The longer it has waited, the less often it looks.
            assert left == pytest.approx(min(300.0, 15.0 * 2 ** (attempt - 1)), abs=10.0)
    with database.read() as connection:
        told = [event for event in events.since(connection, job.id, 0) if event.level == "warn"]
    said = (
        r"tried again later: training needs \d+\.\d\d GiB at a micro batch of 1, and others hold "
        r"too much of this machine's \d+\.\d\d GiB"
    )
    # A wait is told once.
    assert [bool(re.fullmatch(said, event.message)) for event in told] == [True], told
    waiting = now(workshop, job)
    assert "now 0.00 GiB are free" in waiting.result["why"]
    waits = waits_of(waiting.result)
    assert waits is not None
    assert (waits.resource, waits.first, waits.since < time.time()) == ("memory", False, True)
    assert re.fullmatch(r"training needs \d+\.\d\d GiB at a micro batch of 1", waits.what)
    assert list((workshop.home / "memory").rglob("waiting/*.json"))
    assert work(workshop, monkeypatch) == 1
    assert now(workshop, job).result["ref"] == "ft.t.mine@1"
    assert waits_of(now(workshop, job).result) is None
    with database.read() as connection:
        told = events.since(connection, job.id, 0)
    assert any(event.message.startswith("there is memory for it, after ") for event in told)
    assert not list((workshop.home / "memory").rglob("waiting/*"))
    # What it had reserved is free again.
    assert Reservations(workshop.home, detect=lambda: much).machine().memory == much.memory


def test_a_cancelled_job_stops_and_publishes_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fine_tune(workshop, n_epochs=400)
    app = App(Settings.from_environment(workshop.environment))
    for name, value in workshop.environment.items():
        monkeypatch.setenv(name, value)
    schema.migrate(app.registry.database)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "begun" in line:
            ask(workshop, "cancel", job.id)

    with warm():
        Worker(app.registry.database, app.settings.home, say=say).run(once=True)
    assert now(workshop, job).state == "cancelled"
    assert workshop.registry().versions("ft.t.mine") == []
    assert said[-1] == f"{job.id}: cancelled"
