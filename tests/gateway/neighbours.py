"""Two tenants of one gateway: `globex`, who tries, and `acme`, whose things it tries to reach.

acme may use `medical` and the base, globex `enterprise-*`; both may use `shared`. The engine behind
them is a stand-in that keeps every request, so a test sees what got through.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.storage.schema import keys
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.keys import NewKey
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway import raw
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
ADAPTERS = ("medical", "enterprise-kb", "shared")


@dataclass
class Neighbours:
    """The running gateway, its engine, and the keys there are."""

    running: Running
    standin: StandIn
    base: Base
    digests: dict[str, str]
    acme: Tenant
    globex: Tenant
    acme_key: NewKey
    key: str  # globex's
    revoked: str
    expired: str

    def fill(self, text: str) -> str:
        """`{digest}`, `{base}` and the like in a case, as they are in this run."""
        for name, value in (
            ("digest", self.digests["medical"]),
            ("base_digest", self.base.digest),
            ("base", self.base.name),
            ("acme", self.acme.id),
            ("acme_salt", self.acme.cache_salt),
            ("port", self.running.url.rpartition(":")[2]),
        ):
            text = text.replace("{" + name + "}", value)
        return text

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        key: str | None = "",
    ) -> raw.Answer:
        """One request, by default with globex's key."""
        key = self.key if key == "" else key
        own = (("authorization", f"Bearer {key}"),) if key is not None else ()
        data = raw.request(method, target, headers=(*own, *headers), body=body)
        (answer,) = raw.send(self.running.url, data)
        return answer

    def chat(self, model: Any, key: str | None = "", **fields: Any) -> raw.Answer:
        """One chat completion of one token."""
        body = {"model": model, "messages": HELLO, "max_tokens": 1, **fields}
        return self.ask("POST", CHAT, body, key=key)

    def reached(self) -> tuple[int, int, int, bool]:
        """What the engine has seen so far; the same before and after: nothing got through."""
        engine = self.standin
        return len(engine.bodies), len(engine.loads), len(engine.strays), engine.broken


def move_in(launcher: Launcher, home: Path, base: Base) -> Neighbours:
    """Start all of it; the expired key has expired when this returns."""
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    digests = {}
    for number, name in enumerate(ADAPTERS, 1):
        made = publish(registry, home, number, name=name, alias="prod", base=base.identity)
        digests[name] = made.digest
    admin = TenantAdmin(registry.database, who="tester")
    acme, acme_key = admin.add("acme", allow=("medical,shared,base:*",), limits=Limits())
    globex, key = admin.add("globex", allow=("enterprise-*,shared",), limits=Limits())
    revoked, expired = admin.add_key("acme"), admin.add_key("acme", expires=time.time() + 3600)
    admin.revoke_key(revoked.id)
    with registry.database.write() as connection:  # an hour has passed
        connection.execute(keys.update().where(keys.c.id == expired.id).values(expires=time.time()))
    standin = StandIn(base.name)
    running = launcher.gateway(
        registry,
        [launcher.standin(base, standin)],
        home / "spool",
        GatewayConfig(trust=TrustTable(proof="off"), http=HttpTable(body_limit=100_000)),
    )
    running.wait_ready()
    return Neighbours(
        running,
        standin,
        base,
        digests,
        acme,
        globex,
        acme_key,
        key.text,
        revoked.text,
        expired.text,
    )


def code(answer: raw.Answer) -> str:
    """The error's code in OpenAI's shape."""
    return str(json.loads(answer.body)["error"]["code"])
