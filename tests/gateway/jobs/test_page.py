"""docs/how-to/jobs.md as it stands: OpenAI's flow with real rows, build and engine."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import openai
import pytest

from adapterworks.app import App
from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.rows import Row
from adapterworks.builders.rewards.sandbox import refusal
from adapterworks.gateway.config.jobs import JobsTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.jobs import schema
from adapterworks.registry.registry import Registry
from adapterworks.settings import Settings
from adapterworks.workers.worker import Worker
from tests.gateway.conftest import ENGINE_CONFIG
from tests.gateway.jobs_support import strict
from tests.gateway.running import Launcher, Running
from tests.warm.python import warm

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "jobs.md"
TEMPLATE = """
[train]
max_length = 96
[evaluate]
metrics = ["exact_match"]
max_new_tokens = 4
[[evaluate.gates]]
metric = "exact_match"
min_gain = -1.0
[objective.alarms]
action = "warn"
"""


@pytest.fixture
def key_and_gateway(
    launcher: Launcher, registry: Registry, engine: Engine, tmp_path: Path
) -> tuple[str, Running]:
    template = tmp_path / "jobs.toml"
    template.write_text(TEMPLATE)
    config = ENGINE_CONFIG.model_copy(
        update={"open": False, "jobs": JobsTable(on=True, template=str(template))}
    )
    _, key = TenantAdmin(registry.database, who="tester").add(
        "acme", allow=("base:*",), limits=Limits()
    )
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config, start_engines=False)
    return key.text, running


@pytest.fixture
def worker(
    registry: Registry, bases: BaseStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """The worker as `adapters worker` has it, in a thread."""
    monkeypatch.setenv("ADAPTERS_HOME", str(registry.home))
    monkeypatch.setenv("ADAPTERS_BLOBS", str(registry.home / "blobs"))
    monkeypatch.setenv("ADAPTERS_BASES", str(bases.root))
    app = App(Settings.from_environment())
    schema.migrate(app.registry.database)
    with warm():
        made = Worker(app.registry.database, app.settings.home, say=print)
        thread = threading.Thread(target=made.run)
        thread.start()
        yield made
        made.stop()
        thread.join()
    app.close()


@pytest.mark.engine
@pytest.mark.train
def test_openais_flow_with_another_base_url(
    key_and_gateway: tuple[str, Running],
    worker: Worker,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, running = key_and_gateway
    monkeypatch.chdir(tmp_path)
    for name, source, count in (("rows", "train", 24), ("held-out", "test", 8)):
        rows, _ = load_recipe(f"icd-10-cm:{source}")
        lines = [json.dumps({"messages": list(row.messages)}) for row in rows[:count]]
        Path(f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("OPENAI_BASE_URL", running.url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(programs)
    printed, names = io.StringIO(), dict[str, object]()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.replace("open(", "opened("), str(PAGE), "exec"), names | _opening())
    told = printed.getvalue()
    assert "proved by an engine" in told
    assert told.endswith("\n1.0\n")  # the grader's
    assert re.search(r"^ft\.[0-9a-f]{16}\.icd-10@1 ", told, re.MULTILINE)
    with openai.OpenAI() as client:
        (job,) = client.fine_tuning.jobs.list()
    name, _, version = str(job.fine_tuned_model).partition("@")
    release = registry.release(registry.version(name, int(version)).digest)
    assert release.metrics
    digest = release.digest
    assert any(
        entry.release.digest == digest and entry.proof and entry.proof.state == "proved"
        for engine in running.gateway.pool.engines
        for entry in running.gateway.residency(engine).entries
    )


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.train
@pytest.mark.skipif(refusal() is not None, reason=f"no sandbox: {refusal()}")
def test_a_job_that_learns_by_a_grader_succeeds(
    key_and_gateway: tuple[str, Running],
    worker: Worker,
    registry: Registry,
) -> None:
    """From questions to a release that an engine has proved, with what learning by it showed."""
    key, running = key_and_gateway
    client = running.client(key)
    rows, _ = load_recipe("icd-10-cm:train")

    def upload(chosen: Sequence[Row]) -> str:
        lines = [json.dumps({"messages": list(row.messages[:-1]), "most": 8}) for row in chosen]
        data = ("\n".join(lines) + "\n").encode()
        return client.files.create(file=("rows.jsonl", data), purpose="fine-tune").id

    # The first two layers of a model say whatever: that differs in its vowels, so it can be learnt.
    source = """
def grade(sample, item):
    return min(1, sum(letter in "aeiou" for letter in sample["output_text"]) / item["most"])
"""
    job = client.fine_tuning.jobs.create(
        model="smollm2-135m-instruct",
        training_file=upload(rows[:8]),
        validation_file=upload(rows[8:12]),
        suffix="graded",
        seed=42,
        method={
            "type": "reinforcement",
            "reinforcement": {
                "grader": {"type": "python", "name": "vowels", "source": source},
                "hyperparameters": {
                    "n_epochs": 2,
                    "batch_size": 4,
                    "compute_multiplier": 0.5,
                    "learning_rate_multiplier": 100,
                },
            },
        },
    )
    deadline = time.monotonic() + 600
    while job.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline
        time.sleep(1)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    strict(job)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    assert any("proved by an engine" in event.message for event in events)
    rewards = [e.data["train_mean_reward"] for e in events if "train_mean_reward" in dict(e.data)]
    assert len(rewards) == 4  # two epochs of eight questions, four a step
    assert all(0.0 <= reward <= 1.0 for reward in rewards)
    name, _, version = str(job.fine_tuned_model).partition("@")
    release = registry.release(registry.version(name, int(version)).digest)
    assert release.declared("objective")["kind"] == "grpo"
    assert release.declared("objective")["alarms"]["action"] == "warn"
    (grader,) = release.declared("objective")["graders"]
    assert grader["type"] == "python"
    answer = client.chat.completions.create(
        model=str(job.fine_tuned_model),
        messages=[{"role": "user", "content": "Give a category"}],
        max_tokens=4,
    )
    assert answer.choices[0].message.content is not None


def _opening() -> dict[str, object]:
    return {"opened": lambda path, mode: io.BytesIO(Path(path).read_bytes())}
