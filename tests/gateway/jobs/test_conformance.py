"""A scripted session of OpenAI's own client over every method, through a restart of everything.

The objects are what the SDK's types say in strict mode; two tenants run the session side by side
and never meet. Builds are a stand-in's; the worker, the queue and the gateway are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import Stream
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import lookup
from adapterworks.registry.registry import Registry
from tests.gateway.files.test_files import ROWS, put
from tests.gateway.files.test_rows import PAIR
from tests.gateway.jobs.recorded import Recorded
from tests.gateway.jobs.test_batches import request
from tests.gateway.jobs.test_graders import CHECK
from tests.gateway.jobs_support import House, again, house, move_in, strict
from tests.gateway.running import Launcher, Loop
from tests.registry import releases
from tests.warm.python import warm_python

__all__ = ["house"]

ROOT = Path(__file__).resolve().parents[3]
STANDSTILL_S = 300.0


@dataclass
class Service:
    """A gateway and a worker that can both be ended and begun anew."""

    loop: Loop
    registry: Registry
    base: Base
    folder: Path
    webhooks: tuple[WebhookTable, ...] = ()
    house: House = field(init=False)
    launcher: Launcher = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(init=False)

    def begin(self) -> None:
        """For the first time: with tenants."""
        self.launcher = Launcher(self.loop)
        self.house = move_in(
            self.launcher,
            self.registry,
            self.base,
            self.folder,
            webhooks=self.webhooks,
            max_running=1,
        )
        self.work()

    def restart(self) -> None:
        """kill -9 of the workers in the middle of their jobs, and another gateway."""
        for worker in self.workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        self.launcher.close()
        self.launcher = Launcher(self.loop)
        self.house = again(self.launcher, self.house, self.base, self.folder)
        self.work()

    def work(self) -> None:
        environment = {
            **os.environ,
            "ADAPTERS_HOME": str(self.registry.home),
            "ADAPTERS_BLOBS": str(self.registry.home / "blobs"),
            "PYTHONPATH": str(ROOT),
        }
        command = [warm_python(), "-P", "-m", "tests.workers.run_worker", "4"]
        with (self.folder / "worker.log").open("ab") as log:
            self.workers = [
                subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
                for _ in range(2)
            ]

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()
        assert [worker.wait() for worker in self.workers] == [0, 0]
        self.launcher.close()


@pytest.fixture
def service(loop: Loop, registry: Registry, base: Base, tmp_path: Path) -> Iterator[Service]:
    made = Service(loop, registry, base, tmp_path)
    made.begin()
    yield made
    made.close()


def wait(client: openai.OpenAI, job: str, *statuses: str) -> FineTuningJob:
    """Poll, as OpenAI's documentation does."""
    deadline = time.monotonic() + STANDSTILL_S
    while (found := client.fine_tuning.jobs.retrieve(job)).status not in statuses:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    strict(found)
    return found


def files_and_graders(client: Any) -> str:
    """Every method of files, uploads and graders; returns a file that arrived in parts."""
    kept, dropped = put(client, "a.txt", b"a", purpose="user_data"), put(client, "b.jsonl")
    assert client.files.wait_for_processing(kept.id, poll_interval=0.05) == kept
    assert client.files.retrieve(kept.id) == kept
    assert [file.id for file in client.files.list(limit=1)] == [dropped.id, kept.id]
    strict(client.files.delete(dropped.id))
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(dropped.id)
    assert client.files.retrieve_content(kept.id) == "a"
    whole = {"filename": "whole.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"}
    upload = client.uploads.create(bytes=len(ROWS), **whole)
    end = client.uploads.parts.create(upload.id, data=ROWS[100:])
    start = client.uploads.parts.create(upload.id, data=ROWS[:100])
    strict(start)
    done = client.uploads.complete(upload.id, part_ids=[start.id, end.id])
    strict(done)
    assert client.files.content(done.file.id).read() == ROWS
    strict(client.uploads.cancel(client.uploads.create(bytes=3, **whole).id))
    chunked = client.uploads.upload_file_chunked(file=ROWS, bytes=len(ROWS), part_size=500, **whole)
    assert chunked.status == "completed"
    graders = client.fine_tuning.alpha.graders
    strict(graders.validate(grader=CHECK))
    assert graders.run(grader=CHECK, model_sample="A", item={"label": "A"}).reward == 1.0
    return str(done.file.id)


def begin_session(client: Any, model: str) -> dict[str, str]:
    """Up to the restart; what it leaves: names → ids."""
    in_parts = files_and_graders(client)
    rows = put(client)
    held_out = put(client, "held-out.jsonl")
    first = client.fine_tuning.jobs.create(
        model=model,
        training_file=rows.id,
        validation_file=held_out.id,
        suffix="My First",
        seed=7,
        metadata={"team": "red", "round": "1"},
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}},
        },
    )
    strict(first)
    assert (first.seed, first.metadata) == (7, {"team": "red", "round": "1"})
    assert first.hyperparameters.n_epochs == 2
    assert first.hyperparameters.batch_size == "auto"
    assert first.fine_tuned_model is None
    done = wait(client, first.id, "succeeded", "failed")
    assert done.status == "succeeded", done.error
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.endswith(".my-first@1")
    assert done.trained_tokens == 10
    curve = client.files.content(done.result_files[0]).text
    assert curve.splitlines()[0] == "step,train_loss,valid_loss"
    slow = client.fine_tuning.jobs.create(model=model, training_file=rows.id, suffix="slow")
    wait(client, slow.id, "running")
    waiting = client.fine_tuning.jobs.create(
        model=model, training_file=rows.id, metadata={"team": "blue"}
    )
    left = {"rows": rows.id, "first": first.id, "slow": slow.id, "waiting": waiting.id}
    return {**left, "in parts": in_parts}


def end_session(client: Any, left: dict[str, str], go: Path) -> list[str]:
    """After the restart; returns every id that the tenant has."""
    jobs = client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=2)] == [left["waiting"], left["slow"], left["first"]]
    assert [job.id for job in jobs.list(extra_query={"metadata[team]": "red"})] == [left["first"]]
    assert [job.id for job in jobs.list(extra_query={"metadata": "null"})] == [left["slow"]]
    # Paused while it runs, or while it waits to be run again: then it goes on.
    strict(jobs.cancel(left["waiting"]))
    assert wait(client, left["waiting"], "cancelled").finished_at is not None
    with pytest.raises(openai.ConflictError):
        jobs.cancel(left["waiting"])
    strict(jobs.pause(left["slow"]))
    wait(client, left["slow"], "queued")
    strict(jobs.resume(left["slow"]))
    stream = client.get(
        f"/fine_tuning/jobs/{left['slow']}/events?stream=true",
        cast_to=FineTuningJobEvent,
        stream=True,
        stream_cls=Stream[FineTuningJobEvent],
    )
    streamed = []
    for event in stream:
        strict(event)
        streamed.append(event)
        go.touch()  # what is streamed comes while the job runs
    assert wait(client, left["slow"], "succeeded", "failed").error is None
    listed = list(jobs.list_events(left["slow"], limit=2))
    assert [event.id for event in listed] == [event.id for event in reversed(streamed)]
    assert {event.type for event in listed} == {"message", "metrics"}
    points = list(jobs.checkpoints.list(left["slow"], limit=1))
    assert [point.step_number for point in points] == [10, 5]
    for point in points:
        strict(point)
    with pytest.raises(openai.NotFoundError, match="no permissions"):
        list(client.fine_tuning.checkpoints.permissions.list("ckpt"))
    with pytest.raises(openai.NotFoundError, match="no permissions"):
        client.fine_tuning.checkpoints.permissions.create("ckpt", project_ids=["p"])
    with pytest.raises(openai.NotFoundError, match="no permissions"):
        client.fine_tuning.checkpoints.permissions.delete("p", fine_tuned_model_checkpoint="ckpt")
    with pytest.raises(openai.NotFoundError, match="no permissions"):
        client.fine_tuning.checkpoints.permissions.retrieve("ckpt")
    model = jobs.retrieve(left["first"]).fine_tuned_model
    assert model is not None
    assert client.models.retrieve(model).id == model
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=2
    )
    assert answer.model == model
    assert model in [found.id for found in client.models.list()]
    deleted = client.models.delete(model)
    strict(deleted)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model)
    with pytest.raises(openai.NotFoundError):
        client.models.delete(model)
    other = jobs.retrieve(left["slow"]).fine_tuned_model
    assert other is not None
    asked = client.files.create(
        file=("b.jsonl", json.dumps(request(1, other)).encode()), purpose="batch"
    )
    batch = client.batches.create(
        input_file_id=asked.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while client.batches.retrieve(batch.id).status != "completed":
        time.sleep(0.05)
    assert [found.id for found in client.batches.list(limit=1)] == [batch.id]
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)
    upload = client.uploads.create(
        bytes=3, filename="x", mime_type="text/plain", purpose="user_data"
    )
    return [*left.values(), other, upload.id, asked.id, batch.id]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # methods that the package will drop
def test_every_method_across_a_restart_and_beside_a_neighbour(service: Service) -> None:
    names, model = ("acme", "globex"), service.base.name
    records = {name: Recorded() for name in names}
    with ThreadPoolExecutor(len(names)) as at_once:

        def begin(name: str) -> dict[str, str]:
            return begin_session(records[name].of(service.house.client(name)), model)

        def end(name: str) -> list[str]:
            go = service.registry.home / f"go-{left[name]['slow']}"
            return end_session(records[name].of(service.house.client(name)), left[name], go)

        left = dict(zip(names, at_once.map(begin, names), strict=True))
        service.restart()
        ids = dict(zip(names, at_once.map(end, names), strict=True))
    for name in names:
        assert records[name].missing() == set()
    assert not set(ids["acme"]) & set(ids["globex"])
    every_path_with_anothers_ids(service.house, ids)


def every_path_with_anothers_ids(house: House, ids: dict[str, list[str]]) -> None:
    """Every path that takes an id, every id of the other's: nothing is found, nothing changes."""
    from adapterworks.gateway.http.routes.openapi import document

    paths = [path for path in document(jobs=True)["paths"].items() if "{" in path[0]]
    with house.running.http(house.keys["globex"]) as http:
        before = _everything(house, "acme")
        asked = 0
        for path, methods in paths:
            prefix, rest = path.split("{", 1)
            suffix = rest.split("}", 1)[1].replace("{permission}", "x")
            for method in methods:
                for other in ids["acme"]:
                    answer = http.request(method, f"{prefix}{other}{suffix}", json={"part_ids": []})
                    asked += 1
                    assert answer.status_code in (400, 404, 405), (method, path, answer.text)
                    assert answer.status_code == 404 or "content-type" in answer.headers
                    error = answer.json()["error"]
                    assert not {"id", "data"} & error.keys()
        for query in ({"after": other} for other in ids["acme"]):
            for path in ("/v1/files", "/v1/fine_tuning/jobs", "/v1/batches"):
                answer = http.get(path, params=query)
                assert answer.status_code in (400, 404), (path, answer.text)
        for other in ids["acme"]:
            body = {"model": other, "training_file": other}
            assert http.post("/v1/fine_tuning/jobs", json=body).status_code in (400, 404)
            body = {"model": house.standin.base, "training_file": other}
            assert http.post("/v1/fine_tuning/jobs", json=body).status_code == 400
            body = {"input_file_id": other, "endpoint": "/v1/completions"}
            body["completion_window"] = "24h"
            assert http.post("/v1/batches", json=body).status_code == 400
            chat = {"model": other, "messages": [{"role": "user", "content": "x"}]}
            assert http.post("/v1/chat/completions", json=chat).status_code == 404
            asked += 1
            assert http.delete(f"/v1/models/{other}").status_code == 404
        assert asked >= 100
        listed = http.get("/v1/models").json()["data"]
        assert not {model["id"] for model in listed} & set(ids["acme"])
        assert _everything(house, "acme") == before


def _everything(house: House, tenant: str) -> Any:
    """All that a tenant can read."""
    client = house.client(tenant)
    return (
        [file.to_dict() for file in client.files.list()],
        [job.to_dict() for job in client.fine_tuning.jobs.list()],
        [batch.to_dict() for batch in client.batches.list()],
        [model.to_dict() for model in client.models.list()],
    )


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"training_file": "file-none"}, "training_file", "no file"),
        ({"validation_file": "file-none"}, "validation_file", "no file"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"seed": -1}, "seed", "greater"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "512"),
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata", "16"),
        ({"colour": "red"}, "colour", "unknown field"),
        ({"method": {"type": "magic"}}, "method", "supervised"),
        ({"method": {"type": "reinforcement"}}, "training_file", "supervised rows"),
        (
            {"method": {"type": "supervised", "dpo": {}}},
            "method",
            "another one's table",
        ),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters", "n_epochs"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters", "n_epochs"),
        (
            {"hyperparameters": {}, "method": {"type": "supervised"}},
            "hyperparameters",
            "exclude",
        ),
        ({"integrations": [{"type": "wandb"}]}, "integrations", "has a table `wandb`"),
    ],
)
def test_what_cannot_be_done_is_refused_before_there_is_a_job(
    house: House, changes: dict[str, Any], param: str, words: str
) -> None:
    file = put(house.client()).id
    body = {"model": house.standin.base, "training_file": file, **changes}
    with house.running.http(house.keys["acme"]) as http:
        answer = http.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]
    assert list(house.client().fine_tuning.jobs.list()) == []


def test_files_of_other_purposes_and_kinds_are_no_training_rows(house: House) -> None:
    client, model = house.client(), house.standin.base
    data = put(client, data=b"x", purpose="user_data").id
    pairs = put(client, data=json.dumps(PAIR).encode()).id
    for file, words in ((data, "was uploaded for"), (pairs, "does not learn from paired rows")):
        with pytest.raises(openai.BadRequestError, match=words):
            client.fine_tuning.jobs.create(model=model, training_file=file)


def made(house: House, tenant: Tenant, folder: Path, number: int = 1, **fields: Any) -> str:
    """A release of a tenant's own that was built from a manifest; returns its ref."""
    name, method = f"{tenant.prefix}x", {"kind": "lora", "rank": 4, "init": "pissa"}
    found = releases.publish(
        house.registry, folder, number, name=name, manifest={"method": method}, **fields
    )
    return f"{name}@{found.version}"


def test_a_model_that_is_no_base_of_ones_own_does_not_exist(
    house: House, base: Base, tmp_path: Path
) -> None:
    client = house.client()
    file = put(client).id
    others = made(house, house.globex, tmp_path, base=base.identity)
    own = f"{house.acme.prefix}x"
    refused = {}
    for model in ("no-such-base", others, others.replace("@1", "@9"), f"{own}@1", own, f"{own}@x"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.fine_tuning.jobs.create(model=model, training_file=file)
        refused[caught.value.message.replace(model, "MODEL")] = model
    assert len(refused) == 1, refused


def test_ones_own_release_is_continued_as_it_was_trained(
    house: House, base: Base, tmp_path: Path
) -> None:
    client = house.client()
    file = put(client).id
    own = made(house, house.acme, tmp_path, base=base.identity)
    house.registry.promote(own.partition("@")[0], 1, "best", who="tester")
    asked = []
    for model, suffix in ((own, openai.omit), (own.replace("@1", ":best"), "y")):
        job = client.fine_tuning.jobs.create(model=model, training_file=file, suffix=suffix)
        strict(job)
        assert job.model == model
        with house.registry.database.read() as connection:
            asked.append(lookup.get(connection, job.id).arguments)
    assert [one["start"]["ref"] for one in asked] == [own, own], "what it stands for now"
    assert asked[0]["start"]["method"] == {"kind": "lora", "rank": 4}
    assert [one["name"].removeprefix(house.acme.prefix) for one in asked] == ["x", "y"]
    strange = made(house, house.acme, tmp_path, 2)
    with pytest.raises(openai.BadRequestError, match="base that is not served"):
        client.fine_tuning.jobs.create(model=strange, training_file=file)


def test_a_file_that_is_deleted_is_there_for_the_job_that_began_with_it(house: House) -> None:
    from tests.gateway.files.test_files import age

    client = house.client()
    file = put(client)
    job = client.fine_tuning.jobs.create(model=house.standin.base, training_file=file.id)
    client.files.delete(file.id)
    import hashlib

    digest = "sha256:" + hashlib.sha256(ROWS).hexdigest()
    age(house, digest)
    # What said whose file it is may go with the file, and is not the job's.
    gone = house.registry.upkeep.gc(grace=0.0, unlisted=True).blobs
    assert digest not in [blob.digest for blob in gone]
    assert b"".join(house.registry.blobs.get(digest)) == ROWS
    client.fine_tuning.jobs.cancel(job.id)
    gone = house.registry.upkeep.gc(grace=0.0, unlisted=True).blobs
    assert [blob.digest for blob in gone] == [digest]


def test_a_tenant_queues_as_many_jobs_as_it_may(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, max_queued=1)
    client = house.client()
    file = put(client).id
    client.fine_tuning.jobs.create(model=base.name, training_file=file)
    with pytest.raises(openai.ConflictError, match="as many as you may"):
        client.fine_tuning.jobs.create(model=base.name, training_file=file)


def test_names_of_releases_are_the_tenants_own(house: House) -> None:
    from adapterworks.gateway.jobs.creating import name_of
    from adapterworks.manifests.refs import check_name

    for suffix in ("My Model!", "x" * 64, "x" * 63 + "y", "é", "--", "a/b"):
        assert house.acme.owns(check_name(name_of(house.acme, suffix)))
        assert not house.globex.may_use(name_of(house.acme, suffix))
    assert name_of(house.acme, "x" * 64) != name_of(house.acme, "x" * 63 + "y")
    assert name_of(house.acme, "客服 v1") != name_of(house.acme, "财务 v1")
    assert name_of(house.acme, "My model!") == f"{house.acme.prefix}my-model"
