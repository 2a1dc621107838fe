"""Jobs of Kubernetes against an emulated API: their objects, their ends. No cluster was asked."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks import __version__
from adapterworks.manifests.errors import NotFound, Refused, Unavailable
from adapterworks.settings import Settings
from adapterworks.workers.executors.executor import GIVEN_BACK, NoPlace, Resources, Task
from adapterworks.workers.executors.kubernetes import KubernetesExecutor
from adapterworks.workers.executors.kubernetes_objects import job_object
from tests.deploy.reading import documents
from tests.workers.executors.exercise import exercise, task, until

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "adapterworks-engine:0.1.0"
NEEDS = Resources(gpus=2, cpus=8, memory=64 * 10**9, seconds=7200)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    from tests.workers.executors.kubernetes_api import serving

    with serving(tmp_path, "builds") as (found, config):
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config)
        )
        yield found


def test_it_does_what_every_executor_does(api: object, tmp_path: Path) -> None:
    exercise(KubernetesExecutor("builds", IMAGE), tmp_path)


def test_a_lost_node_is_not_the_end(api: object, tmp_path: Path) -> None:
    executor = KubernetesExecutor("builds", IMAGE)
    program = (
        "import pathlib, time\n"
        "path = pathlib.Path('begun')\n"
        "if path.exists(): raise SystemExit(0)\n"
        "path.touch(); time.sleep(60)\n"
    )
    id = executor.submit(task(tmp_path, "one", program))
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    assert executor.status(id) == "running"
    api.lose(id)  # type: ignore[attr-defined]
    assert until(executor, id, "ended") == "ended"


def test_a_drained_node_is_not_the_end(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker itself, asked to end while its job is not done: another pod is begun."""
    from adapterworks.app import App
    from adapterworks.registry.jobs import queue, schema
    from adapterworks.registry.jobs.job import Given
    from adapterworks.workers.remote import queued

    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    database = app.registry.database
    schema.migrate(database)
    queued(database, "on:1", {}, {"on": "k8s:builds"})
    with database.write() as connection:  # held by one whose lease is not over
        taken = queue.claim(connection, ["on:1"], holder="another", now=time.time(), seconds=600)
    assert taken is not None
    program = "from adapterworks.cli.main import main; main()"
    words = ("python", "-P", "-c", program, "worker", "--lane", "on:1")
    executor = KubernetesExecutor("builds", IMAGE)
    id = executor.submit(Task("one", words, {"ADAPTERS_HOME": str(tmp_path)}, tmp_path))

    def wait_until_it_is_up() -> None:
        while "waiting for jobs" not in executor.log(id):
            assert executor.status(id) == "running", executor.log(id)
            time.sleep(0.05)

    wait_until_it_is_up()
    api.drain(id)
    assert executor.status(id) == "running"
    wait_until_it_is_up()
    assert [pod.name for pod in api.jobs[id].pods] == ["one-0-1"]
    with database.write() as connection:
        queue.finish(connection, taken[1], Given("cancelled"), now=time.time())
    assert until(executor, id, "ended") == "ended"
    app.close()


PULL = {
    "phase": "Pending",
    "containerStatuses": [
        {
            "name": "worker",
            "image": IMAGE,
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {
                "waiting": {
                    "reason": "ImagePullBackOff",
                    "message": f'Back-off pulling image "{IMAGE}"',
                }
            },
        }
    ],
}
NO_NODE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (PULL, f'ImagePullBackOff: Back-off pulling image "{IMAGE}"'),
        (NO_NODE, "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        ({}, "FailedCreate: exceeded quota: gpus"),
    ],
)
def test_what_keeps_a_pod_from_beginning_is_said(
    api: Any, tmp_path: Path, status: dict[str, Any], said: str
) -> None:
    executor = KubernetesExecutor("builds", IMAGE)
    id = executor.submit(task(tmp_path, "one", "pass"))
    api.keep_from_beginning(id, status)
    assert executor.status(id) == "waiting"
    assert executor.why(id) == executor.log(id) == said


def test_what_the_api_does_not_take_is_refused_in_its_words(api: object, tmp_path: Path) -> None:
    asked = task(tmp_path, "one", "pass")
    with pytest.raises(Refused, match='forbidden in the namespace "others"'):
        KubernetesExecutor("others", IMAGE).submit(asked)
    executor = KubernetesExecutor("builds", IMAGE)
    executor.submit(asked)
    with pytest.raises(Refused, match="already exists"):
        executor.submit(asked)
    with pytest.raises(NotFound):
        executor.status("never")


def test_the_image_is_the_one_that_the_recipe_makes(tmp_path: Path) -> None:
    """Without a tag a cluster would look for the newest one of somebody else's."""
    settings = Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)})
    assert settings.kubernetes_image == IMAGE == f"adapterworks-engine:{__version__}"
    assert f"-t {IMAGE} ." in (ROOT / "docs" / "how-to" / "containers.md").read_text()


def test_without_a_cluster_to_ask_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not that the cluster has forgotten the Job."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(NoPlace, match="no cluster to ask"):
        KubernetesExecutor("builds", IMAGE).status("one")


def test_nobody_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.workers.executors.kubernetes_api import serving

    with serving(tmp_path, "builds") as (_, config):
        pass
    monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(Unavailable, match="does not answer"):
        KubernetesExecutor("builds", IMAGE).status("one")


def test_a_job_is_of_kubernetes_schema_and_the_worker_of_the_base() -> None:
    import kubernetes_validate

    told = {
        "ADAPTERS_USER": "ann",
        "ADAPTERS_DATABASE": "postgresql://db.internal/adapters",
        "ADAPTERS_BLOBS": "/home/ann/.adapters/blobs",
    }
    asked = Task("build-1", ("python", "-c", "pass"), told, Path("/x"), NEEDS)
    made = job_object(asked, namespace="builds", image=IMAGE)
    assert made == job_object(copy.deepcopy(asked), namespace="builds", image=IMAGE)
    for version in ("1.31", "1.33", "1.37"):
        kubernetes_validate.validate(made, version, strict=True)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "64000000000"},
        "limits": {"memory": "64000000000", "nvidia.com/gpu": "2"},
    }
    # The pod's time, from when a node has it: the Job's would count what it waits for one.
    assert pod["activeDeadlineSeconds"] == 7200
    assert "activeDeadlineSeconds" not in made["spec"]
    assert made["spec"]["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [GIVEN_BACK]}},
    ]
    (deployment,) = documents("kubernetes/worker.yaml")
    worker = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == worker["securityContext"]
    (theirs,) = worker["containers"]
    assert container["securityContext"] == theirs["securityContext"]
    assert container["envFrom"] == theirs["envFrom"]
    # Kubernetes takes `env` before `envFrom`: the asker's own would hide the Secret's.
    named = {entry["name"]: entry["value"] for entry in container["env"]}
    assert named["ADAPTERS_USER"] == "ann"
    assert not named.keys() & {"ADAPTERS_DATABASE", "ADAPTERS_BLOBS"}
    assert container["volumeMounts"] == theirs["volumeMounts"]


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://me:hidden@db/adapters",
        "postgresql://me@db/adapters?password=hidden",
        "postgresql://db/adapters?sslkey=k.pem&sslpassword=hidden",
    ],
)
def test_nothing_secret_is_in_a_job(tmp_path: Path, database: str) -> None:
    from adapterworks.app import App
    from adapterworks.workers.environment import public_environment

    told = {
        "ADAPTERS_HOME": str(tmp_path),
        "ADAPTERS_DATABASE": database,
        "ADAPTERS_GATEWAY_KEY": "hidden",
        "ADAPTERS_USER": "ann",
    }
    found = public_environment(App(Settings.from_environment(told)))
    assert "hidden" not in str(found)
    assert found["ADAPTERS_USER"] == "ann"


def test_jobs_cancel_reaches_the_cluster(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from adapterworks.app import App
    from adapterworks.cli.main import cli
    from adapterworks.registry.jobs import lookup, queue, schema
    from adapterworks.registry.jobs.job import Given
    from adapterworks.workers.remote import queued

    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    app, executor = App(), KubernetesExecutor("builds", IMAGE)
    database = app.registry.database
    schema.migrate(database)
    waits, runs, unknown = (
        queued(database, lane, {}, {"on": "k8s:builds"}) for lane in ("on:1", "on:2", "on:3")
    )
    with database.write() as connection:
        taken = queue.claim(connection, ["on:2"], holder="pod", now=time.time())
    assert taken is not None
    for job in (waits, runs):
        executor.submit(task(tmp_path, job.id, "import time; time.sleep(60)"))
    for job in (waits, runs, unknown):
        done = CliRunner().invoke(cli, ["jobs", "cancel", job.id], catch_exceptions=False)
        assert (done.exit_code, done.stderr) == (0, "")
    for job in (waits, runs):
        assert until(executor, job.id, "cancelled") == "cancelled"
        assert api.jobs[job.id].to_json()["status"]["conditions"][0]["type"] == "Failed"
    with database.write() as connection:  # its worker, told by the cluster, gives it back
        assert queue.finish(connection, taken[1], Given("queued"), now=time.time()).ended
        assert lookup.get(connection, waits.id).state == "cancelled"
    more = queued(database, "on:4", {}, {"on": "k8s:others"})
    done = CliRunner().invoke(cli, ["jobs", "cancel", more.id], catch_exceptions=False)
    assert (done.exit_code, "k8s:others was not told" in done.stderr) == (0, True)
    app.close()
