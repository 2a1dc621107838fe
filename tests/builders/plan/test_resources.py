"""`[resources]`: read, checked against the plan, filled by it; no weight depends on it."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.plan.resources import Needs, check_resources, declared, needs
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import Manifest

GIB = 2**30


def manifest(trained: int = 1, /, **resources: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "adapter": {"name": "tiny"},
            "base": {"model": "smollm2"},
            "method": {"kind": "lora"},
            "data": {"train": "rows.jsonl"},
            "train": {"processes": trained},
            "resources": resources,
        }
    )


def test_what_is_said_is_what_is_asked_for() -> None:
    said = declared(manifest(gpus=2, memory="1.5GB", time="90m"))
    assert said == Needs(2, 1, 1, 1_500_000_000, 5400)
    assert needs(manifest(gpus=2, memory="64GB", time="2d"), "cpu", GIB, 10**9) == Needs(
        2, 1, 1, 64 * 10**9, 172_800
    )


@pytest.mark.parametrize(
    ("device", "processes", "said", "gpus", "gib"),
    [
        ("cpu", 1, {}, 0, 7),  # 4 GiB predicted, a quarter more, and 2 GiB
        ("cpu", 2, {}, 0, 12),
        ("cuda", 2, {}, 2, 12),  # the weights twice, 4 bytes each, a quarter more, and 2 GiB
        ("cpu", 1, {"gpus": 1}, 1, 7),
    ],
)
def test_what_is_not_said_is_the_plans(
    device: Any, processes: int, said: dict[str, Any], gpus: int, gib: int
) -> None:
    found = needs(manifest(processes, **said), device, 4 * GIB, GIB)
    assert found == Needs(gpus, 1, processes, gib * GIB, None)


@pytest.mark.parametrize(
    ("processes", "said", "error", "why"),
    [
        (1, {"memory": "3GB"}, Refused, "predicted to take 4.3 GB"),
        (2, {"memory": "8GB"}, Refused, "predicted to take 8.6 GB"),
        (2, {"processes": 3}, InvalidInput, "`train.processes` is 2"),
        (4, {"gpus": 2}, InvalidInput, "4 processes train, one a GPU"),
    ],
)
def test_what_contradicts_the_plan_is_refused(
    processes: int, said: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        check_resources(manifest(processes, **said), "cpu", 4 * GIB)


def test_a_gpus_memory_is_not_the_nodes() -> None:
    check_resources(manifest(gpus=1, memory="3GB"), "cpu", 4 * GIB)
    check_resources(manifest(memory="3GB"), "cuda", 4 * GIB)


def test_several_nodes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="trained on one node"):
        declared(manifest(nodes=2))


@pytest.mark.parametrize(
    "said", [{"memory": "lots"}, {"memory": "64"}, {"time": "8"}, {"time": "-1h"}, {"gpus": -1}]
)
def test_what_is_no_amount_is_a_fault(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="resources"):
        manifest(**said)
