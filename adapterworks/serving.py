"""From settings and a gateway configuration to a gateway with its engines, ready to be run.

The one place where engines are chosen: `adapters serve` and `adapterworks.serve` both come here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.app import App
from adapterworks.extras import require
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.gateway.config.tables import GatewayConfig, RemoteEngine
    from adapterworks.gateway.engines.engine import Engine
    from adapterworks.gateway.gateway import Gateway
    from adapterworks.registry.bases.store import Base
    from adapterworks.registry.releases.release import Release

Say = Callable[[str], None]


def opened(config: GatewayConfig, wanted: bool) -> GatewayConfig:
    """The configuration with anyone let in without a key, if that is wanted.

    Raises:
        InvalidInput: others than this machine could reach it.
    """
    from adapterworks.gateway.config.tables import is_loopback

    if not wanted:
        return config
    if not is_loopback(config.host):
        raise InvalidInput(
            f"an open gateway on `{config.host}` would let anyone in",
            hint="leave that out and add a tenant: `adapters tenant add NAME --allow '*'`",
        )
    return config.model_copy(update={"open": True})


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
    from adapterworks.gateway.engines.plan import served_releases
    from adapterworks.gateway.gateway import Gateway

    served = served_releases(app.registry, say)
    engines = _engines(app, config, served, only=only, say=say)

    home = app.settings.home
    spool = Path(config.metering.spool) if config.metering.spool else home / "metering"
    newest = sorted(served, key=lambda release: release.created, reverse=True)
    return Gateway.compose(
        config, app.registry, engines, spool=spool, first=newest, keys=app.settings.keys
    )


def _engines(
    app: App, config: GatewayConfig, releases: list[Release], *, only: str | None, say: Say
) -> list[Engine]:
    """The engines to start or to use; starts none."""
    from adapterworks.gateway.config.tables import RemoteEngine
    from adapterworks.gateway.engines.local import LocalEngine
    from adapterworks.gateway.engines.plan import engine_specs, remote_base
    from adapterworks.gateway.engines.remote import RemoteEngine as Remote
    from adapterworks.gateway.engines.remote import engine_id

    tables = [table for table in config.engines if isinstance(table, RemoteEngine)]
    all_remote = bool(tables) and len(tables) == len(config.engines)
    if not all_remote:
        require("cpu", "an engine of its own")
    seconds = config.http.request_seconds
    engines: list[Engine] = []
    for table in tables:
        name = engine_id(table.url)
        engines.append(
            Remote(
                name,
                remote_base(_base_of(app, table, say)),
                url=table.url,
                slots=config.residency.max_loras,
                capacity=config.residency.max_cpu_loras,
                parallel=table.max_num_seqs,
                key=_key_of(table),
                interval=config.supervisor.health_interval,
                request_seconds=seconds,
            )
        )
        say(f"engine {name}: {table.url}, base {table.base}")
    if all_remote:
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
                request_seconds=seconds,
                say=functools.partial(_say_engine, say, spec.id),
            )
        )
    return engines


def _key_of(table: RemoteEngine) -> str | None:
    """What the engine elsewhere is shown.

    Raises:
        InvalidInput: it is said where it is, and it is not there.
    """
    if table.api_key_env is None:
        return None
    key = os.environ.get(table.api_key_env)
    if not key:
        raise InvalidInput(
            f"`{table.api_key_env}`, the key of the engine of `{table.base}`, is not set",
            hint="set the environment variable, or leave `api_key_env` out of `[[engines]]`",
        )
    return key


def _base_of(app: App, table: RemoteEngine, say: Say) -> Base:
    """The base of an engine elsewhere; prepared here, since its digest is that of its values."""
    what = f"serving the base `{table.base}`, which is not prepared here,"
    return app.base(table.base, quantization=table.quantization, what=what, say=say)


def _say_engine(say: Say, engine: str, line: str) -> None:
    say(f"engine {engine}: {line}")
