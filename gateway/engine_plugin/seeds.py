"""Requests with a seed of their own, on a CPU, while their prompt is computed in parts.

Of a prompt that is not whole yet vLLM draws a token, too, throws it away, and takes its generator
back by an offset. A CPU's generator has none: vLLM 0.32 ends, for everybody, as soon as a prompt of
a seeded request does not fit into a step.

Invariant: what a seed draws does not depend on how its prompt was cut: nothing is drawn from it
before the prompt is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vllm.platforms.cpu import CpuPlatform


@contextmanager
def held_back(runner: Any) -> Iterator[None]:
    """Without the generators of requests whose token is thrown away in this step.

    Args:
        runner: vLLM's model runner, with the step prepared.
    """
    generators = runner.input_batch.generators
    thrown = runner.discard_request_mask.np[: runner.input_batch.num_reqs]
    kept = {
        place: generators.pop(place)
        for place, one in enumerate(thrown)
        if one and place in generators
    }
    try:
        yield
    finally:
        generators.update(kept)


def hold_back(runners: type[Any]) -> None:
    """Have model runners of this class sample so; harmless when repeated."""
    stock = runners.sample_tokens
    if getattr(stock, "adapterworks", False):
        return

    def sample_tokens(runner: Any, *args: Any, **kwargs: Any) -> Any:
        with held_back(runner):
            return stock(runner, *args, **kwargs)

    sample_tokens.adapterworks = True  # type: ignore[attr-defined]
    runners.sample_tokens = sample_tokens


def install() -> None:
    """Make CPU workers sample so; harmless on other platforms and when repeated.

    The runner is imported where vLLM is about to do so: in workers, and in no other process.
    """
    stock = CpuPlatform.register_triton_kernel_overrides
    if getattr(stock, "adapterworks", False):
        return

    def overrides(cls: type[CpuPlatform]) -> None:
        stock()
        from vllm.v1.worker.cpu_model_runner import CPUModelRunner

        hold_back(CPUModelRunner)

    overrides.adapterworks = True  # type: ignore[attr-defined]
    CpuPlatform.register_triton_kernel_overrides = classmethod(overrides)
