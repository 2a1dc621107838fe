"""kill -9 at random points: nothing acknowledged is lost, nothing is half-done, nothing is stuck.

A short run of `python -m bench.registry_crash`, which makes 200 and more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.registry_crash import run, sqlite_in, table
from tests.postgres import new_database


@pytest.mark.parametrize(
    ("where", "kills"),
    [
        ("sqlite", 10),
        pytest.param("postgresql", 10, marks=pytest.mark.slow),
        pytest.param("sqlite", 200, marks=pytest.mark.slow),
    ],
)
def test_aibrix_235_kill_9_loses_nothing_that_was_acknowledged(
    request: pytest.FixtureRequest, tmp_path: Path, where: str, kills: int
) -> None:
    if where == "sqlite":
        result = run(kills, tmp_path, sqlite_in)
    else:
        server = request.getfixturevalue("postgres_server")
        result = run(kills, tmp_path, lambda _: new_database(server))
    assert result.good, table(result)
    assert result.kills >= kills
    assert result.during > result.kills / 2, table(result)
    assert sum(tally.acknowledged for tally in result.operations.values()) > 0, table(result)
