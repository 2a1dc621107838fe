"""What factors start from when they are computed from rows: of the rows, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.builders.build_support import TinyJob

pytestmark = pytest.mark.train


def start(job: TinyJob) -> dict[str, torch.Tensor]:
    named = job.trainer().bare.named_parameters()
    return {name: p.detach() for name, p in named if ".lora_A." in name}


def test_the_micro_batch_moves_nothing(job: Callable[..., TinyJob]) -> None:
    """It is chosen by the memory that is free. 40 rows in batches of 8, so many tokens in a row
    that one alone has fewer than the rank."""
    made = {
        micro: start(
            job("lora", f"of-{micro}", rows=40, micro_batch_size=micro,
                method={"init": "eva", "rank": 24})
        )
        for micro in (1, 2, 8)
    }  # fmt: skip
    other = start(job("lora", "other", rows=36, micro_batch_size=2,
                      method={"init": "eva", "rank": 24}))  # fmt: skip
    for name, expected in made[8].items():
        for micro in (1, 2):
            torch.testing.assert_close(made[micro][name], expected, rtol=0, atol=1e-5)
    assert any(
        not torch.allclose(other[name], tensor, atol=1e-3) for name, tensor in made[8].items()
    ), "nothing would be told apart"
