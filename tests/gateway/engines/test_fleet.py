"""A small fleet simulated with the gateway's own decisions, and the oracle worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.fleet.oracle import belady
from bench.fleet.policies import POLICIES
from bench.fleet.simulate import Outcome, Simulation
from bench.fleet.traffic import Size, Times, Traffic, make_traffic

SIZE = Size(gateways=3, engines=8, adapters=200, requests=3000, capacity=8, parallel=32)


def _traffic(*adapters: int) -> Traffic:
    count = len(adapters)
    return Traffic(
        at=np.arange(count, dtype=np.float64),
        gateway=np.zeros(count, dtype=np.int64),
        adapter=np.array(adapters),
        seconds=np.full(count, 0.1),
        digests=tuple(f"sha256:{number}" for number in range(max(adapters) + 1)),
    )


def test_the_oracle_unloads_what_is_asked_for_latest() -> None:
    # Two places. At the third request 1 is asked for later than 0, so 1 goes, and comes back last.
    assert belady(_traffic(0, 1, 2, 0, 2, 1), 2) == [False, False, False, True, True, False]
    assert belady(_traffic(0, 1, 2, 0, 1, 2), 3) == [False] * 3 + [True] * 3


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    traffic = make_traffic(SIZE, Times())
    return {
        name: Simulation(SIZE, Times(), traffic, policy(SIZE.engines)).run()
        for name, policy in POLICIES.items()
    }


def test_adapters_that_stay_are_loaded_less_often(outcomes: dict[str, Outcome]) -> None:
    cold = {name: float(np.mean(out.cold[600:])) for name, out in outcomes.items()}
    assert cold["ours"] < 0.5 * min(cold["random"], cold["round robin"])
    assert cold["ours"] <= cold["before"]
    found = belady(make_traffic(SIZE, Times()), SIZE.engines * SIZE.capacity)
    assert cold["ours"] > 1 - np.mean(found[600:])  # nobody is better than who knows it all


def test_every_request_has_its_first_token_and_none_sooner_than_it_can(
    outcomes: dict[str, Outcome],
) -> None:
    times = Times()
    for out in outcomes.values():
        assert len(out.first) == SIZE.requests
        assert min(out.first) > times.first - 1e-9
        waited = [f for f, cold in zip(out.first, out.cold, strict=True) if cold]
        assert min(waited) > times.first + times.proof - 1e-9


def test_one_gateway_with_one_engine_loads_each_adapter_once_if_all_fit() -> None:
    size = replace(SIZE, gateways=1, engines=1, adapters=8, requests=400)
    out = Simulation(size, Times(), make_traffic(size, Times()), POLICIES["ours"](1)).run()
    assert out.loads == 8
