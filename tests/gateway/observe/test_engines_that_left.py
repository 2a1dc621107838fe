"""What `/metrics` says of engines is of those that are there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.metrics import refresh
from adapterworks.gateway.observe.metrics import Metrics
from tests.gateway.observe.test_observe import samples


def engine(id: str) -> Any:
    return SimpleNamespace(
        id=id, inflight=3, slots=4, health=SimpleNamespace(state="ready"),
        base=SimpleNamespace(name="tiny"),
    )  # fmt: skip


def test_an_engine_that_left_has_no_gauge_any_more() -> None:
    """Its last value would be summed up for ever: by what scales engines, and by alarms."""
    pool = SimpleNamespace(engines=(engine("e1"), engine("e2")))
    entry = SimpleNamespace(release=SimpleNamespace(name="medical"), stage="resident")
    gateway = SimpleNamespace(
        metrics=Metrics(), pool=pool, meter=SimpleNamespace(backlog=0, set_aside=0),
        queue=lambda engine: SimpleNamespace(waiting=40),
        residency=lambda engine: SimpleNamespace(entries=(entry,)),
    )  # fmt: skip

    def shown() -> dict[tuple[str, ...], float]:
        refresh(cast(Gateway, gateway))
        found = samples(gateway.metrics)
        return {key: value for key, value in found.items() if {"e1", "e2"} & {*key}}

    def of(id: str) -> dict[tuple[str, ...], float]:
        return {
            ("adapters_engine_up", id): 1, ("adapters_running", id): 3,
            ("adapters_waiting", id): 40, ("adapters_resident", "medical", id): 1,
        }  # fmt: skip

    assert shown() == of("e1") | of("e2")
    pool.engines = (engine("e2"),)
    assert shown() == of("e2")
    pool.engines = (engine("e1"),)  # one that comes back is shown again
    assert shown() == of("e1")
