"""Seeded requests whose prompts are computed in parts draw nothing before they are whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.gateway.engine_plugin.seeds import hold_back


class Stock:
    """As much of vLLM's model runner as samples: each request with a generator draws from it, and
    what is thrown away takes its generator back, as vLLM 0.32 does."""

    def __init__(self, seeds: dict[int, int], thrown: list[bool]) -> None:
        self.generators = {at: torch.Generator().manual_seed(seed) for at, seed in seeds.items()}
        self.input_batch = SimpleNamespace(generators=self.generators, num_reqs=len(thrown))
        # The buffer is longer than the batch, and what stands behind that is of an earlier one.
        self.discard_request_mask = SimpleNamespace(np=np.array([*thrown, True]))

    def sample_tokens(self, fails: bool = False) -> dict[int, int]:
        if fails:
            raise RuntimeError("of vLLM's own")
        drawn = {
            at: int(torch.randint(0, 1 << 30, (1,), generator=generator))
            for at, generator in self.generators.items()
        }
        for at in np.nonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])[0]:
            generator = self.input_batch.generators.get(int(at))
            if generator is not None:
                generator.set_offset(generator.get_offset() - 4)
        return drawn


@pytest.fixture
def runners() -> Any:
    class Runner(Stock):
        pass

    hold_back(Runner)
    hold_back(Runner)  # once more changes nothing
    return Runner


def first(seed: int) -> int:
    return int(torch.randint(0, 1 << 30, (1,), generator=torch.Generator().manual_seed(seed)))


def test_vllm_ends_where_a_seeded_prompt_is_cut() -> None:
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        Stock({0: 5}, [True]).sample_tokens()


def test_a_seed_draws_the_same_however_its_prompt_was_cut(runners: Any) -> None:
    runner = runners({0: 5, 2: 7, 3: 9}, [True, True, False, True])
    for _ in range(3):  # parts of the prompts of the first and the last
        drawn = runner.sample_tokens()
        assert [*drawn] == [2]
        assert sorted(runner.generators) == [0, 2, 3]
    runner.discard_request_mask.np[:] = [False, True, False, True, True]
    assert runner.sample_tokens()[0] == first(5)
    runner.discard_request_mask.np[:] = False
    drawn = runner.sample_tokens()
    assert drawn[3] == first(9)
    assert drawn[0] != first(5)


def test_what_fails_leaves_every_generator_where_it_was(runners: Any) -> None:
    runner = runners({0: 5, 1: 7}, [True, False])
    with pytest.raises(RuntimeError, match="of vLLM's own"):
        runner.sample_tokens(True)
    assert sorted(runner.generators) == [0, 1]


def test_vllms_own_runner_is_the_one_that_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is in the platform, where a worker is about to import its runner."""
    from vllm.platforms.cpu import CpuPlatform
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    from adapterworks.gateway.engine_plugin import seeds

    # The stock one looks through all modules of a worker, and ends at some that tests import.
    called: list[type] = []
    monkeypatch.setattr(CpuPlatform, "register_triton_kernel_overrides", classmethod(called.append))
    seeds.install()
    seeds.install()
    CpuPlatform.register_triton_kernel_overrides()
    assert called == [CpuPlatform]
    assert CPUModelRunner.sample_tokens.adapterworks  # type: ignore[attr-defined]
