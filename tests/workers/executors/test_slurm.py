"""A real Slurm of two nodes: tasks, whole builds, and a node that dies in the middle of one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.cli.jobs import command as jobs
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.workers.executors.executor import Resources, Task
from adapterworks.workers.executors.slurm import SlurmExecutor
from tests.builders.workshop import Workshop
from tests.workers.executors.exercise import exercise
from tests.workers.executors.slurm_cluster import PARTITION, Cluster, cluster, is_there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_there(), reason="needs root, slurm-wlm and munge"),
]
ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture
def slurm(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm"), nodes=2) as running:
        for name, value in {**running.environment, "OMP_NUM_THREADS": "1"}.items():
            monkeypatch.setenv(name, value)
        yield running


def _weights(workshop: Workshop, digest: str) -> bytes:
    return workshop.registry().read(digest, ADAPTER)


def _by_hand(tmp_path: Path, tiny: Path, epochs: float) -> bytes:
    folder = tmp_path / "by-hand"
    folder.mkdir()
    other = Workshop(folder, tiny)
    return _weights(other, other.json(other.manifest(epochs=epochs))["digest"])


def test_it_does_what_every_executor_does(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    exercise(SlurmExecutor(PARTITION, tmp_path / "tasks"), tmp_path / "work")


def test_what_slurm_does_not_have_is_refused_in_its_words(slurm: Cluster, tmp_path: Path) -> None:
    task = Task("one", ("true",), {}, tmp_path)
    with pytest.raises(Refused, match="invalid partition"):
        SlurmExecutor("nowhere", tmp_path / "a").submit(task)
    too_much = Task("two", ("true",), {}, tmp_path, Resources(gpus=1))
    with pytest.raises(Refused, match="Slurm refused"):
        SlurmExecutor(PARTITION, tmp_path / "b").submit(too_much)
    with pytest.raises(NotFound):
        SlurmExecutor(PARTITION, tmp_path / "c").status("1.one")


def test_one_manifest_is_the_same_weights_here_and_there(
    slurm: Cluster, workshop: Workshop, tmp_path: Path, tiny: Path
) -> None:
    built = workshop.json(workshop.manifest(epochs=2), "--on", f"slurm:{PARTITION}")
    assert (built["state"], built["result"]["ref"]) == ("succeeded", "tiny@1")
    assert built["labels"] == {"on": f"slurm:{PARTITION}"}
    assert _weights(workshop, built["result"]["digest"]) == _by_hand(tmp_path, tiny, 2)


def test_a_node_that_dies_is_another_nodes_resume(
    slurm: Cluster, workshop: Workshop, tmp_path: Path, tiny: Path
) -> None:
    job = workshop.json(workshop.manifest(epochs=60), "--on", "slurm", "--detach")["id"]
    deadline = time.monotonic() + 300
    pattern = "tiny*/train/checkpoints/step-*/state.json"
    while not list((workshop.home / "builds").glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    node = slurm.run("squeue", "-h", "-o", "%N").strip()
    slurm.kill(node)
    state = "running"
    while state in ("queued", "running"):
        assert time.monotonic() < deadline + 300
        time.sleep(0.5)
        shown = json.loads(workshop.invoke(jobs, "show", job, "--json").stdout)
        state = shown["state"]
    assert (state, shown["attempt"]) == ("succeeded", 2)
    told = workshop.invoke(jobs, "logs", job).stdout
    assert "its worker was lost; it is queued again" in told
    assert _weights(workshop, shown["result"]["digest"]) == _by_hand(tmp_path, tiny, 60)
