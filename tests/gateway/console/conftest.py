"""A gateway with its console, jobs on, and two tenants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.registry.bases.base import Base
from tests.gateway.conftest import open_registry
from tests.gateway.console.browsing import Browser
from tests.gateway.jobs_support import House, move_in
from tests.gateway.running import Launcher, Loop


@pytest.fixture(scope="module")
def house(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The gateway of a module's tests."""
    launcher, folder = Launcher(loop), tmp_path_factory.mktemp("console")
    house = move_in(launcher, open_registry(folder / "registry"), base, folder, offered=True)
    Tokens(house.registry.database).grant("acme", Role.PROMOTER, who="tester")
    yield house
    launcher.close()


@pytest.fixture
def acme(house: House) -> Iterator[Browser]:
    """A browser that acme's key is logged in with."""
    with Browser(house.running.url) as browser:
        assert browser.log_in(house.keys["acme"]).status_code == 303
        yield browser


@pytest.fixture
def globex(house: House) -> Iterator[Browser]:
    """A browser of the other tenant."""
    with Browser(house.running.url) as browser:
        assert browser.log_in(house.keys["globex"]).status_code == 303
        yield browser
