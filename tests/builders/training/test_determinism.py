"""`train.deterministic`: set before CUDA starts, in the training's process, and said afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.training import loop
from adapterworks.builders.training.determinism import (
    environment_of,
    is_deterministic,
    make_deterministic,
)
from adapterworks.builders.training.job import Job, _environment
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    TinyJob,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = before


def planned(tiny: Path, device: str, **train: Any) -> Plan:
    facts = facts_of(encoded_rows(8), encoded_rows(2))
    manifest = manifest_for("lora", **train)
    plan = make_plan(manifest, identity("lora"), read_shape(tiny), MACHINE, facts, ENVIRONMENT)
    return plan.model_copy(update={"device": device})


def test_the_process_begins_with_what_cublas_reads_once(tiny: Path) -> None:
    asked = planned(tiny, "cuda", deterministic=True)
    found = _environment(Job(asked, "base", 0, os.getpid()))
    assert found[WORKSPACE] == ":4096:8"
    assert found["FLASH_ATTENTION_DETERMINISTIC"] == "1"


def test_a_workspace_that_will_do_is_left_and_another_is_not(tiny: Path) -> None:
    asked = planned(tiny, "cuda", deterministic=True)
    assert environment_of(asked, {WORKSPACE: ":16:8"})[WORKSPACE] == ":16:8"
    assert environment_of(asked, {WORKSPACE: ":0:0"})[WORKSPACE] == ":4096:8"


def test_nothing_is_set_where_it_was_not_asked_for(tiny: Path) -> None:
    assert environment_of(planned(tiny, "cuda"), {}) == {}
    assert environment_of(planned(tiny, "cpu", deterministic=True), {}) == {}
    make_deterministic(planned(tiny, "cpu"))
    assert not is_deterministic()


def test_an_operation_without_such_a_kernel_ends_the_training(tiny: Path) -> None:
    """A warning alone would leave torch's memory-efficient attention to its atomics."""
    make_deterministic(planned(tiny, "cpu", deterministic=True))
    assert is_deterministic()
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.nn.functional.max_unpool2d(
            torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.long), 2
        )


def test_a_job_is_trained_with_such_kernels_and_says_so(
    job: Callable[..., TinyJob], tmp_path: Path
) -> None:
    """The same training, to the bit: on a CPU there are no others."""
    said = {}
    for name, train in (("plain", {}), ("asked", {"deterministic": True})):
        made = job("lora", name, max_steps=2, **train)
        Job(made.plan, str(made.base), 1, os.getpid()).write(made.folder)
        assert loop.main(made.folder) == 0
        result = json.loads((made.folder / "train" / "result.json").read_text())
        said[name] = result["deterministic"]
    assert said == {"plain": False, "asked": True}
    one, other = (
        load_file(tmp_path / name / "train/adapter/adapter_model.safetensors") for name in said
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
