"""`train.accelerate_config`: the training goes through `accelerate launch`, and changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from adapterworks.builders.training.processes import require_replicas
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from tests.builders.workshop import Workshop
from tests.warm.python import COMMAND

pytestmark = pytest.mark.train

CONFIG = """\
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: 'NO'
downcast_bf16: 'no'
machine_rank: 0
main_training_function: main
mixed_precision: 'no'
num_machines: 1
num_processes: 1
use_cpu: true
"""
WEIGHTS = "adapter/adapter_model.safetensors"


@pytest.mark.slow
def test_a_launched_training_resumes_to_the_weights_of_a_plain_one(workshop: Workshop) -> None:
    """Killed with kill -9 in the middle, then resumed, through the launcher both times."""
    (workshop.folder / "accelerate.yaml").write_text(CONFIG)
    manifest = workshop.manifest(epochs=20)
    launched = [manifest, "--set", "train.accelerate_config=accelerate.yaml"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "build", *launched],
        env=os.environ | workshop.environment,
        stderr=subprocess.DEVNULL,
    )
    folder = workshop.wait_for_checkpoint(process)
    commands = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
    assert f"accelerate.commands.launch --config_file {workshop.folder}" in commands.stdout
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "train" / "result.json").exists()
    resumed = workshop.json(*launched, "--resume")
    assert '"event":"resumed"' in (folder / "events.jsonl").read_text()
    plain = workshop.json(manifest)
    registry = workshop.registry()
    assert registry.read(resumed["digest"], WEIGHTS) == registry.read(plain["digest"], WEIGHTS)


@pytest.mark.parametrize(
    ("text", "error"),
    [(None, NotFound), ("- a list", InvalidInput), (CONFIG + "gpus: 2\n", InvalidInput)],
)
def test_an_unreadable_configuration_is_refused_first(
    workshop: Workshop, text: str | None, error: type[Exception]
) -> None:
    if text is not None:
        (workshop.folder / "none.yaml").write_text(text)
    result = workshop.build(workshop.manifest(), "--set", "train.accelerate_config=none.yaml")
    assert isinstance(result.exception, error)
    assert "none.yaml" in str(result.exception)
    assert not (workshop.home / "bases").exists()


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_configuration_that_shards_is_refused_first(workshop: Workshop, kind: str) -> None:
    """Each process would have written its own part of the weights as the adapter."""
    config = CONFIG.replace("distributed_type: 'NO'", f"distributed_type: {kind}")
    (workshop.folder / "sharded.yaml").write_text(config.replace("use_cpu: true", "use_cpu: false"))
    result = workshop.build(workshop.manifest(), "--set", "train.accelerate_config=sharded.yaml")
    assert isinstance(result.exception, InvalidInput)
    assert kind in str(result.exception)
    assert not (workshop.home / "bases").exists()


def test_a_launcher_that_shards_is_refused_whoever_asked_for_it() -> None:
    for kind in ("NO", "MULTI_CPU", "MULTI_GPU"):
        require_replicas(SimpleNamespace(distributed_type=kind))
    with pytest.raises(Refused, match="one process's part"):
        require_replicas(SimpleNamespace(distributed_type="FSDP"))
