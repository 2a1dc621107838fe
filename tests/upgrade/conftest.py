"""Copies of the old home on both kinds of index, the Hub as it was pushed to, and an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.hub_standin import Account, HubStandin
from tests.postgres import postgres_server
from tests.upgrade.old_home import BASE, TOKEN, Home, fill, old_home, old_postgresql

__all__ = ["postgres_server"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Home:
    """A copy of the old home on SQLite."""
    return old_home(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A copy of the old home on either kind of index."""
    if request.param == "sqlite":
        return old_home(tmp_path)
    return old_postgresql(tmp_path, request.getfixturevalue("postgres_server"))


@pytest.fixture
def hub() -> Iterator[HubStandin]:
    """The Hub with the repositories as the old code pushed them."""
    with HubStandin({TOKEN: Account("org")}) as standin:
        fill(standin)
        yield standin


@pytest.fixture
def standin_engine(tmp_path: Path) -> Iterator[Path]:
    """A `gateway.toml` with a stand-in for an engine of the releases' base."""
    loop = Loop()
    served = loop.run(serve(StandIn(BASE).app()))
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'trust.proof = "off"\n'
        f'[[engines]]\nurl = "{served.url}"\nbase = "{BASE}"\nquantization = "nf4"\n'
    )
    yield config
    loop.run(served.stop())
    loop.close()
