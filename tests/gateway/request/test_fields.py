"""Which request fields reach the engine, and whose salt."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running

HELLO = [{"role": "user", "content": "hello"}]
STEERING = {
    "cache_salt": "another tenant's",
    "lora_path": "/etc",
    "lora_name": "x",
    "lora_request": {"lora_path": "/etc"},
    "kv_transfer_params": {"remote": "http://elsewhere"},
    "ec_transfer_params": {"remote": "http://elsewhere"},
    "priority": -100,
    "request_id": "someone-elses",
    "session_id": "someone-elses",
    "unheard_of": 1,
}


def test_fields_that_steer_the_engine_never_reach_it(on_standin: Running, standin: StandIn) -> None:
    """Anchor 11: what a client sends must not cross tenants or name paths."""
    with on_standin.http() as http:
        answer = http.post(
            "/v1/chat/completions",
            json={"model": "medical", "messages": HELLO, "max_tokens": 1, "top_k": 5, **STEERING},
        )
    assert answer.status_code == 200
    body = standin.bodies[-1]
    assert set(body) == {"model", "messages", "max_tokens", "top_k", "cache_salt"}
    assert body["cache_salt"] != STEERING["cache_salt"]
    assert body["model"].startswith("sha256:")
    ignored = set(answer.headers["x-adapter-ignored"].split(","))
    assert ignored == set(STEERING)


def test_each_tenant_has_its_own_salt_and_sees_only_its_own(
    launcher: Launcher, shared_registry: Registry, standin: StandIn, base: Base, tmp_path: Path
) -> None:
    admin = TenantAdmin(shared_registry.database, who="tester")
    keys = {
        "acme": admin.add("acme", allow=("medical", "base:*"), limits=Limits())[1].text,
        "globex": admin.add("globex", allow=("enterprise-*",), limits=Limits())[1].text,
    }
    running = launcher.gateway(
        shared_registry,
        [launcher.standin(base, standin)],
        tmp_path / "spool",
        GatewayConfig(trust=TrustTable(proof="off")),
    )
    running.wait_ready()
    try:
        with running.http() as http:
            assert http.get("/v1/models").status_code == 401
            assert http.get("/metrics").status_code == 401
        acme, globex = running.client(keys["acme"]), running.client(keys["globex"])
        ask = {"messages": HELLO, "max_tokens": 1}
        acme.chat.completions.create(model="medical", **ask)
        globex.chat.completions.create(model="enterprise-kb", **ask)
        salts = [body["cache_salt"] for body in standin.bodies]
        assert len(set(salts)) == 2
        assert [m.id for m in acme.models.list()] == [base.name, "medical"]
        assert [m.id for m in globex.models.list()] == ["enterprise-kb"]
        with running.http(keys["globex"]) as http:
            hidden = http.post("/v1/chat/completions", json={"model": "medical", **ask})
            absent = http.post("/v1/chat/completions", json={"model": "mexical", **ask})
            assert http.get("/metrics").status_code == 404
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text.replace("medical", "mexical") == absent.text
        assert set(hidden.headers) == set(absent.headers)
    finally:
        for name in keys:
            admin.remove(name)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"[]", {}, 400),
        (b"{", {}, 400),
        (b'{"model": NaN}', {}, 400),
        (b'{"model": 7, "messages": []}', {}, 400),
        (b'{"messages": []}', {}, 400),
        (b"[" * 200_000, {}, 400),
        (b'{"model": "' + b"x" * 5_000_000 + b'"}', {}, 413),
        (b"{}", {"x-long": "x" * 40_000}, 431),
    ],
)
def test_hostile_bodies_get_a_clean_answer(
    on_standin: Running, content: bytes, headers: dict[str, str], status: int
) -> None:
    with on_standin.http() as http:
        answer = http.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "req-" in answer.headers["x-request-id"]
