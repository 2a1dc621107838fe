"""Which engine gets a request, and what it is sent: by digest, by load, by form. Worked by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.engines.engine import Engine, Health
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.engines.routing import Seen
from adapterworks.gateway.engines.target import ServedBase, Target
from adapterworks.gateway.http.header_limit import HeaderLimit
from adapterworks.manifests.errors import NotFound, Unavailable
from adapterworks.registry.releases.release import Release, Servable
from tests.registry.releases import draft

BASE = f"sha256:{'b' * 64}"
DIGEST = f"sha256:{'d' * 64}"
SERVABLE = Servable(form="lora", origin="native", rank=8)


class Idle:
    """As much of an engine as routing looks at."""

    def __init__(self, name: str, inflight: int = 0, state: str = "ready", **base: str) -> None:
        values = {"name": "tiny", "model": "served", "digest": BASE, **base}
        self.id = name
        self.base = ServedBase(**values)  # type: ignore[arg-type]
        self.health = Health(state, f"{name} is {state}", 1)  # type: ignore[arg-type]
        self.inflight = inflight


def see(engine: Any) -> Seen:
    return Seen(engine.inflight, 2, False)


def pool(*engines: Idle) -> EnginePool:
    return EnginePool(cast(Any, engines))


def ranked(*names: str) -> list[str]:
    """Engines by the sum that the module states: the largest hash of engine and digest first."""
    return sorted(
        names, key=lambda n: hashlib.sha256(f"{n}\n{DIGEST}".encode()).digest(), reverse=True
    )


def routed(*engines: Idle, digest: str | None = DIGEST) -> str:
    return pool(*engines).route(Target("medical", "medical", BASE, digest=digest), see).id


def test_an_adapter_goes_to_the_engine_of_its_hash() -> None:
    names = ["a", "b", "c", "d"]
    first, second = ranked(*names)[:2]
    assert routed(*(Idle(name) for name in names)) == first
    down = [Idle(name, state="down" if name == first else "ready") for name in names]
    assert routed(*down) == second


def test_a_base_itself_is_asked_where_least_is_under_way() -> None:
    assert routed(Idle("a", 3), Idle("b", 1), Idle("c", 2), digest=None) == "b"


def test_another_base_and_an_engine_that_is_not_ready_are_no_alternative() -> None:
    target = Target("medical", "medical", BASE, digest=DIGEST)
    with pytest.raises(NotFound, match="no engine serves the base of `medical`"):
        pool(Idle("a", digest="sha256:other")).route(target, see)
    with pytest.raises(Unavailable, match="not ready: down") as refused:
        pool(Idle("a", digest="sha256:other"), Idle("b", state="down")).route(target, see)
    assert refused.value.retry_after == 10.0


def test_the_first_engine_of_a_name_keeps_it() -> None:
    found = pool(
        Idle("a"), Idle("b", model="second"), Idle("c", quantization="nf4", model="quantized")
    ).bases()
    assert {name: base.model for name, base in found.items()} == {
        "tiny": "served", "tiny-none": "served", "tiny-nf4": "quantized",
    }  # fmt: skip


def test_a_target_is_labelled_by_what_answered() -> None:
    release = Release.from_draft(draft(), {})
    assert Target("tiny", "base:tiny", BASE).label == "tiny"
    assert Target("tiny-none", "base:tiny", BASE).label == "tiny"
    assert Target("medical:prod", "medical", BASE, release, DIGEST, 7).label == "medical@7"
    assert Target(DIGEST, "medical", BASE, release, DIGEST).label == "medical"


def test_each_form_is_addressed_under_the_digest_and_the_tenants_salt() -> None:
    engine = cast(Engine, Idle("a"))
    body = {"model": "medical", "cache_salt": "theirs", "messages": []}
    assert FORMS["lora"].address(engine, DIGEST, SERVABLE, body, "ours") == {
        "model": DIGEST, "cache_salt": "ours", "messages": [],
    }  # fmt: skip
    for form in ("prompt", "prefix"):
        assert FORMS[form].address(engine, DIGEST, SERVABLE, body, "ours") == {
            "model": "served",
            "cache_salt": "ours",
            "messages": [],
            "kv_transfer_params": {"adapter_digest": DIGEST},
        }
    assert body["model"] == "medical"  # the client's own is not changed


def test_a_form_is_what_its_name_says_and_asks_for_what_it_needs() -> None:
    assert {name: form.kind for name, form in FORMS.items()} == {
        "lora": "lora", "prompt": "prompt", "prefix": "prefix",
    }  # fmt: skip
    assert FORMS["lora"].engine_flags() == {}
    for form in ("prompt", "prefix"):
        flags = FORMS[form].engine_flags()
        assert flags.keys() == {"kv-transfer-config"}
        assert json.loads(str(flags["kv-transfer-config"]))["kv_role"] == "kv_consumer"


class Asked(Idle):
    """An engine that notes what it is asked to do."""

    def __init__(self) -> None:
        super().__init__("a")
        self.did: list[Any] = []

    async def load(self, digest: str, folder: Path) -> None:
        self.did.append(("load", digest, folder))

    async def unload(self, digest: str) -> None:
        self.did.append(("unload", digest))

    async def score(self, fields: dict[str, Any], prompts: Any) -> tuple[list[Any], int]:
        self.did.append((fields, prompts))
        return ["scores"], 7


async def test_only_a_lora_is_loaded_and_all_are_scored_as_they_are_asked(tmp_path: Path) -> None:
    for name, form in FORMS.items():
        engine = Asked()
        await form.load(cast(Engine, engine), DIGEST, tmp_path, SERVABLE)
        await form.unload(cast(Engine, engine), DIGEST)
        done = [("load", DIGEST, tmp_path), ("unload", DIGEST)]
        assert engine.did == (done if name == "lora" else [])
        scored = await form.score(cast(Engine, engine), DIGEST, SERVABLE, [[1, 2]], "salt")
        assert scored == (["scores"], 7)
        fields, prompts = engine.did[-1]
        assert prompts == [[1, 2]]
        assert fields == form.address(cast(Engine, engine), DIGEST, SERVABLE, {}, "salt")


@pytest.mark.parametrize(
    ("kind", "extra", "passes"),
    [("http", 0, True), ("http", 1, False), ("websocket", 1, True)],
)
async def test_path_query_and_headers_have_one_limit(kind: str, extra: int, passes: bool) -> None:
    reached, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {  # 5 + 3 + 4 + 8 = 20 bytes
        "type": kind,
        "raw_path": b"/path",
        "query_string": b"a=b",
        "headers": [(b"name", b"12345678" + b"x" * extra)],
    }
    await HeaderLimit(app, limit=20)(cast(Any, scope), cast(Any, SimpleNamespace()), send)
    assert bool(reached) is passes
    assert bool(sent) is not passes
    if not passes:
        start, body = sent
        headers = dict(start["headers"])
        assert (start["type"], start["status"]) == ("http.response.start", 431)
        assert headers[b"connection"] == b"close"
        assert headers[b"x-request-id"].startswith(b"req-")
        assert b"above 20 bytes" in body["body"]
