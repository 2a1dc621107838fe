"""From settings and a gateway configuration to a gateway with its engines, ready to be run.

The one place where engines are chosen: `adapters serve` and `adapterworks.serve` both come here.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.extras import require
from adapterworks.grading import BuildersGrading
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.gateway.config.engines import FoundEngines, RemoteEngine
    from adapterworks.gateway.config.tables import GatewayConfig
    from adapterworks.gateway.engines.engine import Engine
    from adapterworks.gateway.engines.target import ServedBase
    from adapterworks.gateway.engines.tls import EngineTls
    from adapterworks.gateway.gateway import Gateway
    from adapterworks.registry.releases.release import Release

Say = Callable[[str], None]
# Releases that may be loaded before the gateway says that it is ready; engines take fewer.
SPOOL = "metering"  # in ADAPTERS_HOME: usage that is not in the index yet
_FIRST = 64


def opened(config: GatewayConfig, wanted: bool) -> GatewayConfig:
    """The configuration of a program, with anyone let in without a key, if that is wanted.

    Raises:
        ManifestError: it says what is not possible; among that, others than this machine could
            reach an open gateway.
    """
    from adapterworks.gateway.config.possible import require_possible

    config = config.model_copy(update={"open": True}) if wanted else config
    require_possible(config)
    return config


def say_who_gets_in(app: App, config: GatewayConfig, say: Say) -> None:
    """Say that everyone does, or that nobody does yet."""
    from adapterworks.gateway.tenants.admin import TenantAdmin

    if config.open:
        say("open: anyone on this machine may use every adapter")
    elif not TenantAdmin(app.registry.database, who=app.settings.who).list():
        say(
            "there are no tenants yet: every request is refused until one is added with "
            "`adapters tenant add NAME --allow '*'` (or the gateway is open, on loopback)"
        )


def compose(app: App, config: GatewayConfig, *, only: str | None, say: Say) -> Gateway:
    """A gateway with its engines; starts nothing.

    Args:
        only: serve this base alone, by its name.
        say: told which engines these are.

    Raises:
        MissingExtra: an engine is to be started, and vLLM is not installed.
    """
    from adapterworks.gateway.config.engines import FoundEngines, RemoteEngine
    from adapterworks.gateway.engines.plan import newest_releases, served_releases
    from adapterworks.gateway.gateway import Gateway
    from adapterworks.gateway.webhooks.sending import read_addresses

    read_addresses(config.webhooks)  # a secret that is not there is said before anything is started
    elsewhere = all(isinstance(t, (RemoteEngine, FoundEngines)) for t in config.engines)
    if elsewhere:  # it is no matter of how many releases there are
        served = newest_releases(app.registry, _FIRST, say)
    else:
        served = served_releases(app.registry, say)
    engines = _engines(app, config, served, only=only, say=say)

    home = app.settings.home
    spool = Path(config.metering.spool) if config.metering.spool else home / SPOOL
    newest = sorted(served, key=lambda release: release.created, reverse=True)
    gateway = Gateway.compose(
        config,
        app.registry,
        engines,
        spool=spool,
        grading=BuildersGrading(),
        first=newest,
        keys=app.settings.keys,
    )
    gateway.container_key = _container_key(config.http.container_key_env)
    for table in config.engines:
        if isinstance(table, FoundEngines):
            _follow(app, config, table, gateway)
    return gateway


def _engines(
    app: App, config: GatewayConfig, releases: list[Release], *, only: str | None, say: Say
) -> list[Engine]:
    """The engines to start or to use; starts none."""
    from adapterworks.gateway.config.engines import FoundEngines, RemoteEngine
    from adapterworks.gateway.engines.local import LocalEngine
    from adapterworks.gateway.engines.plan import engine_specs

    tables = [table for table in config.engines if isinstance(table, RemoteEngine)]
    found = [table for table in config.engines if isinstance(table, FoundEngines)]
    all_elsewhere = len(tables) + len(found) == len(config.engines)
    if not all_elsewhere:
        require("cpu", "an engine of its own")
    engines: list[Engine] = []
    for table in tables:
        base = _base_of(app, table.base, table.quantization, say)
        engine = _elsewhere(config, table, table.url, base, _tls_of(table))
        engines.append(engine)
        say(f"engine {engine.id}: {table.url}, base {table.base}")
    if all_elsewhere:
        return engines
    for spec in engine_specs(
        config, app.bases, releases, only=only, servables=app.registry.checkouts, say=say
    ):
        say(
            f"engine {spec.id}: base {spec.base.name} ({spec.base.quantization}), {spec.dtype}, "
            f"rank ≤ {spec.max_lora_rank}, {spec.max_loras} adapters a batch"
        )
        engines.append(
            LocalEngine(
                spec,
                run=app.settings.home / "run",
                supervisor=config.supervisor,
                request_seconds=config.http.request_seconds,
                say=functools.partial(_say_engine, say, spec.id),
            )
        )
    return engines


def _elsewhere(
    config: GatewayConfig,
    table: RemoteEngine | FoundEngines,
    url: str,
    base: ServedBase,
    tls: EngineTls | None,
) -> Engine:
    from adapterworks.gateway.engines.remote import RemoteEngine as Remote
    from adapterworks.gateway.engines.remote import engine_id

    return Remote(
        engine_id(url),
        base,
        url=url,
        slots=config.residency.max_loras,
        capacity=config.residency.max_cpu_loras,
        parallel=table.max_num_seqs,
        key=_key_of(table),
        interval=config.supervisor.health_interval,
        request_seconds=config.http.request_seconds,
        told=table.base is None,
        fetches=table.checkouts == "fetched",
        tls=tls,
    )


def _follow(app: App, config: GatewayConfig, table: FoundEngines, gateway: Gateway) -> None:
    """Have engines join and leave as the table says."""
    from adapterworks.gateway.discovery.open import open_finder
    from adapterworks.gateway.engines.identity import ask_base

    key, tls = _key_of(table), _tls_of(table)  # what is wrong with them is said now

    async def make(url: str) -> Engine:
        if table.base is None:
            base = await ask_base(url, key, tls)
        else:
            base = await asyncio.to_thread(
                _base_of, app, table.base, table.quantization, _say_nothing
            )
        return _elsewhere(config, table, url, base, tls)

    finder = open_finder(table.place, tls=tls is not None)
    gateway.follow(table.discover, finder, make, seconds=table.seconds)


def _tls_of(table: RemoteEngine | FoundEngines) -> EngineTls | None:
    """How the engines of a table are spoken to with TLS, if anything is said of it.

    Raises:
        InvalidInput: a file is not what it should be.
    """
    from adapterworks.gateway.engines.tls import EngineTls

    if not table.tls:
        return None
    ca, cert, key = (name and Path(name) for name in (table.ca, table.cert, table.tls_key))
    return EngineTls(ca or None, cert or None, key or None, table.tls_name)


def _key_of(table: RemoteEngine | FoundEngines) -> str | None:
    """What the engine elsewhere is shown.

    Raises:
        InvalidInput: it is said where it is, and it is not there.
    """
    if table.api_key_env is None:
        return None
    key = os.environ.get(table.api_key_env)
    if not key:
        raise InvalidInput(
            f"`{table.api_key_env}`, the key of the engine of `{table.base or 'any base'}`, is "
            "not set",
            hint="set the environment variable, or leave `api_key_env` out of `[[engines]]`",
        )
    return key


def _container_key(variable: str | None) -> str | None:
    """The key of the tenant that a platform's requests are of.

    Raises:
        InvalidInput: it is said where it is, and it is not there.
    """
    key = os.environ.get(variable) if variable else None
    if variable and not key:
        raise InvalidInput(
            f"`{variable}`, the key that a platform's requests are of, is not set",
            hint="set the variable to a key of `adapters tenant add`, or leave "
            "`container_key_env` out of `[http]`",
        )
    return key


def _base_of(app: App, name: str, quantization: str, say: Say) -> ServedBase:
    """The base of an engine elsewhere; prepared here, since its digest is that of its values."""
    from adapterworks.gateway.engines.plan import remote_base

    what = f"serving the base `{name}`, which is not prepared here,"
    return remote_base(app.base(name, quantization=quantization, what=what, say=say))


def _say_nothing(line: str) -> None:
    """Not at every look."""


def _say_engine(say: Say, engine: str, line: str) -> None:
    say(f"engine {engine}: {line}")
