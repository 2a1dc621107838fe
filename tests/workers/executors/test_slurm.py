"""A real Slurm of two nodes: tasks, and a whole build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
