"""Several processes train the weights that one does, also with unequal shares of the rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.training.job import Job
from bench.serving import free_port
from tests.builders.build_support import TinyJob

pytestmark = pytest.mark.train


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(job: Callable[..., TinyJob]) -> None:
    """25 rows in batches of 8: the last batch is one row, which only one process has. Without a
    part for the other it would wait for ever in its backward pass (DDP)."""
    weights = []
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for name, launch in (
        ("one", []),
        ("two", [*launcher, "--master-port", str(free_port())]),
    ):
        trained = job("lora", name, rows=25, epochs=2.0)
        Job(trained.plan, str(trained.base), 1, os.getpid()).write(trained.folder)
        subprocess.run(
            [
                sys.executable,
                *launch,
                "-m",
                "adapterworks.builders.training.loop",
                str(trained.folder),
            ],
            check=True,
            capture_output=True,
            timeout=600,
            env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        )
        weights.append(load_file(trained.folder / "train/adapter/adapter_model.safetensors"))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-5, atol=1e-7)
