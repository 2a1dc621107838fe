"""A real Ray of two nodes: tasks, and whole builds through the blob store alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.app import App
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.settings import Settings
from adapterworks.workers.executors.executor import GIVEN_BACK, Resources, Task
from adapterworks.workers.executors.ray import RayExecutor
from tests.builders.workshop import Workshop
from tests.postgres import new_database, running_server
from tests.workers.executors.exercise import PATIENCE_S, exercise, task, until
from tests.workers.executors.ray_cluster import Cluster, cluster, is_there

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not is_there(), reason="needs the extra `ray`")]
ADAPTER = "adapter/adapter_model.safetensors"


class Far(Workshop):
    """A workshop whose index and blobs other machines reach."""

    database = blobs = ""
    opened: App | None = None

    @property
    def app(self) -> App:
        """One, so that its connections can be closed."""
        if self.opened is None:
            self.opened = App(Settings.from_environment(self.environment))
        return self.opened

    @property
    def environment(self) -> dict[str, str]:
        return {
            **super().environment,
            "ADAPTERS_DATABASE": self.database,
            "ADAPTERS_BLOBS": self.blobs,
        }


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    environment = {"OMP_NUM_THREADS": "1", "ADAPTERS_BASES": str(folder / "bases")}
    with cluster(folder, nodes=2, environment=environment) as running:
        yield running


@pytest.fixture
def far(tmp_path: Path, tiny: Path) -> Iterator[Far]:
    with running_server() as server:
        workshop = Far(tmp_path, tiny)
        workshop.database = new_database(server)
        workshop.blobs = str(tmp_path / "blobs")
        yield workshop
        workshop.app.close()


def test_it_does_what_every_executor_does(ray: Cluster, tmp_path: Path) -> None:
    exercise(RayExecutor(ray.address), tmp_path)


def test_a_task_ends_when_its_time_is_over(ray: Cluster, tmp_path: Path) -> None:
    asked = task(tmp_path, "long", "import time; print('up'); time.sleep(600)")
    limited = Task(asked.name, asked.command, {}, asked.folder, Resources(seconds=5))
    executor = RayExecutor(ray.address)
    assert until(executor, executor.submit(limited), "failed") == "failed"


def test_one_that_gives_back_what_it_runs_is_begun_again(ray: Cluster, tmp_path: Path) -> None:
    program = (
        "import pathlib\n"
        "path = pathlib.Path('begun')\n"
        "if path.exists(): raise SystemExit(0)\n"
        f"path.touch(); raise SystemExit({GIVEN_BACK})\n"
    )
    executor = RayExecutor(ray.address)
    id = executor.submit(task(tmp_path, "given-back", program))
    assert until(executor, id, "ended") == "ended"
    assert "it goes on on another one" in executor.log(id)


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        RayExecutor("127.0.0.1:1").submit(Task("one", ("true",), {}, tmp_path))


def _by_hand(tmp_path: Path, tiny: Path, epochs: float) -> bytes:
    folder = tmp_path / "by-hand"
    folder.mkdir()
    other = Workshop(folder, tiny)
    built = other.json(other.manifest(epochs=epochs))
    return other.registry().read(built["digest"], ADAPTER)


def test_one_manifest_is_the_same_weights_and_a_node_that_dies_is_anothers_resume(
    ray: Cluster, far: Far, tmp_path: Path, tiny: Path
) -> None:
    manifest = far.manifest(epochs=20)
    often = '[train]\nsave_every = "4 steps"\n'
    Path(manifest).write_text(Path(manifest).read_text().replace("[train]\n", often))
    job = far.json(manifest, "--on", f"ray://{ray.address}", "--detach")
    from adapterworks.registry.jobs import lookup

    registry = far.registry()
    executor = RayExecutor(ray.address)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with registry.database.read() as connection:
            now = lookup.get(connection, job["id"])
        if "checkpoint" in now.result:
            break
        assert not now.ended, (now.message, executor.log(job["task"]))
        assert time.monotonic() < deadline, executor.log(job["task"])
        time.sleep(0.1)
    (dead,) = [n for n in ray.nodes if (ray.home(n) / "builds").exists()]
    ray.kill(dead)
    deadline = time.monotonic() + 2 * PATIENCE_S  # the lost worker's lease is a part of it
    while not now.ended:
        assert time.monotonic() < deadline, executor.log(job["task"])
        time.sleep(0.2)
        with registry.database.read() as connection:
            now = lookup.get(connection, job["id"])
    assert now.state == "succeeded", now.message
    assert until(executor, job["task"], "ended") == "ended"
    (other,) = ray.nodes
    assert list((ray.home(other) / "builds").iterdir())
    said = executor.log(job["task"])
    assert "it goes on on another one" in said
    weights = registry.read(now.result["digest"], ADAPTER)
    assert weights == _by_hand(tmp_path, tiny, 20)


def test_an_index_that_no_node_reaches_is_refused(tmp_path: Path, tiny: Path) -> None:
    alone = Workshop(tmp_path, tiny)
    result = alone.build(alone.manifest(), "--on", "ray://127.0.0.1:1")
    assert isinstance(result.exception, InvalidInput)
    assert "PostgreSQL" in str(result.exception.hint)
