"""The claims of `bench.metered`, `bench.fair_gateway` and `bench.real_engine`, without timings."""

from __future__ import annotations

import pytest

from bench import fair_gateway, metered, real_engine


def test_metering_is_exact_across_kills() -> None:
    outcome = metered.run(requests=300, kills=2)
    assert len(outcome.answered) >= 300
    assert outcome.kills == 2
    assert outcome.unmetered == outcome.invented == outcome.misread == []
    assert {row.name for row in metered.rows(outcome) if row.met is False} == set()


@pytest.mark.slow
def test_a_flood_moves_a_quiet_tenant_less_than_order_of_arrival_would() -> None:
    rows = {row.name: row.value for row in fair_gateway.run(runs=1, count=6)}
    assert rows["in order of arrival ÷ fair"] > 2


@pytest.mark.slow
def test_flips_a_kill_and_a_flood_on_one_real_engine() -> None:
    assert real_engine.main() == 0
