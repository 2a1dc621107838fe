"""A gateway with `[jobs]`, two tenants that know nothing of each other, and OpenAI's own client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from adapterworks.gateway.config.jobs import JobsTable
from adapterworks.gateway.config.oidc import OidcTable
from adapterworks.gateway.config.tables import GatewayConfig, RegistryTable, TrustTable
from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running


@dataclass
class House:
    """A running gateway and its two tenants."""

    running: Running
    registry: Registry
    standin: StandIn
    acme: Tenant
    globex: Tenant
    keys: dict[str, str]

    def client(self, tenant: str = "acme") -> openai.OpenAI:
        """The unmodified client of a tenant."""
        return self.running.client(self.keys[tenant])


def move_in(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    folder: Path,
    *,
    offered: bool = False,
    oidc: OidcTable | None = None,
    webhooks: tuple[WebhookTable, ...] = (),
    **jobs: Any,
) -> House:
    """Start a gateway with two tenants that may use everything.

    Args:
        offered: whether the registry is there over HTTP.
        oidc: whose persons may use it.
        webhooks: who is told what happens.
    """
    admin = TenantAdmin(registry.database, who="tester")
    acme, acme_key = admin.add("acme", allow=("*",), limits=Limits())
    globex, globex_key = admin.add("globex", allow=("*",), limits=Limits())
    keys = {"acme": acme_key.text, "globex": globex_key.text}
    tables = {"registry": RegistryTable(on=offered, oidc=oidc), "webhooks": webhooks}
    running, standin = _start(launcher, registry, base, folder, jobs, tables)
    return House(running, registry, standin, acme, globex, keys)


def again(launcher: Launcher, house: House, base: Base, folder: Path) -> House:
    """Another gateway on the same registry, with the same tenants."""
    running, standin = _start(launcher, house.registry, base, folder, {}, {})
    return replace(house, running=running, standin=standin)


def _start(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    folder: Path,
    jobs: dict[str, Any],
    tables: dict[str, Any],
) -> tuple[Running, StandIn]:
    standin = StandIn(base.name)
    config = GatewayConfig(
        trust=TrustTable(proof="off"),
        jobs=JobsTable(on=True, **jobs),
        **tables,
    )
    engine = launcher.standin(base, standin)
    running = launcher.gateway(registry, [engine], folder / "spool", config)
    running.wait_ready()
    return running, standin


@pytest.fixture
def house(launcher: Launcher, registry: Registry, base: Base, tmp_path: Path) -> House:
    """A gateway of this test's own, with small bounds on files."""
    return move_in(launcher, registry, base, tmp_path, file_bytes=200_000, tenant_bytes=500_000)


def strict(thing: BaseModel) -> None:
    """What came is what the SDK's own type says, in strict mode, with nothing besides."""
    type(thing).model_validate_json(thing.model_dump_json(), strict=True)
    assert not thing.model_extra, thing.model_extra
