"""Many of anything: models, series, connections that nobody uses are bounded, and block nobody."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.observe import metrics as module
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway import raw
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running, Start
from tests.registry.releases import publish

HEALTH = raw.request("GET", "/health", close=False)
NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture
def few(start: Start, registry: Registry, base: Base, tmp_path: Path) -> Running:
    for number, name in enumerate(NAMES, 1):
        publish(registry, tmp_path, number, name=name, alias="prod", base=base.identity)
    return start()


def test_models_come_in_pages_that_join(few: Running, base: Base) -> None:
    with few.http() as http:
        everything = [m["id"] for m in http.get("/v1/models").json()["data"]]
        assert everything == [base.name, *NAMES]
        seen: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = http.get("/v1/models", params={"limit": 4, **after}).json()
            seen += [model["id"] for model in page["data"]]
            assert (page["first_id"], page["last_id"]) == (
                page["data"][0]["id"], page["data"][-1]["id"],
            )  # fmt: skip
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert seen == everything


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=-1", "after=nobody"),
        "limit=0000000012000",  # its first nine digits are in bounds
        "limit=000000001" + "9" * 5000,  # and Python reads no number that long
    ],
)
def test_a_page_that_cannot_be_is_refused(few: Running, query: str) -> None:
    with few.http() as http:
        answer = http.get(f"/v1/models?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.split("=")[0]


def test_the_names_are_read_once_for_all_and_again_when_one_is_new(
    few: Running, registry: Registry, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    names = registry.names

    def counted(*args: object, **options: object) -> object:
        nonlocal reads
        reads += threading.current_thread().name.startswith("asyncio") and "after" in options
        return names(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(few.gateway.registry, "names", counted)
    with few.http() as http:
        for _ in range(5):
            assert http.get("/v1/models").status_code == 200
        once = reads
        for _ in range(5):
            http.get("/v1/models")
        assert reads == once
        publish(registry, tmp_path, 40, name="new", alias="prod", base=base.identity)
        deadline = time.monotonic() + 60
        while "new" not in http.get("/v1/models").text:
            assert time.monotonic() < deadline


def test_more_pairs_than_there_may_be_share_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 2)
    metrics = Metrics()
    for tenant, adapter in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("a", "x")):
        metrics.finished(
            tenant=tenant, adapter=adapter, endpoint="/", status=200,
            prompt_tokens=1, completion_tokens=2, seconds=0.1,
        )  # fmt: skip
        metrics.series(tenant, adapter).first_token(0.1)
    value = metrics.registry.get_sample_value

    def requests(tenant: str, adapter: str) -> float | None:
        labels = {"tenant": tenant, "adapter": adapter, "endpoint": "/", "status": "200"}
        return value("adapters_requests_total", labels)

    assert [requests("a", "x"), requests("b", "x"), requests("other", "other")] == [2.0, 1.0, 2.0]
    assert requests("c", "x") is None
    firsts = {"tenant": "other", "adapter": "other"}
    assert value("adapters_time_to_first_token_seconds_count", firsts) == 2.0


def test_the_series_are_written_beside_the_event_loop(
    few: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        writing.set()
        assert go_on.wait(60)
        return b"all of it\n"

    monkeypatch.setattr(few.gateway.metrics, "render", slow)
    answers: list[httpx.Response] = []

    def scrape() -> None:
        answers.append(httpx.get(few.url + "/metrics", timeout=60))

    scraper = threading.Thread(target=scrape)
    scraper.start()
    assert writing.wait(60)
    assert httpx.get(few.url + "/health", timeout=60).status_code == 200
    go_on.set()
    scraper.join(60)
    assert answers[0].text == "all of it\n"


MOST = 20


@pytest.fixture(scope="module")
def narrow(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with keys and few connections."""
    launcher, home = Launcher(loop), Path(tmp_path_factory.mktemp("narrow"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    running = launcher.gateway(
        registry,
        [launcher.standin(base, StandIn(base.name))],
        home / "spool",
        GatewayConfig(trust=TrustTable(proof="off"), http=HttpTable(max_connections=MOST)),
    )
    running.wait_ready()
    yield running
    launcher.close()
    registry.close()


@pytest.mark.parametrize("said", [b"", b"GET /health HTTP/1.1\r\nhost:", HEALTH])
def test_connections_that_ask_nothing_shut_nobody_out(narrow: Running, said: bytes) -> None:
    port = int(narrow.url.rpartition(":")[2])
    crowd = []
    try:
        for _ in range(3 * MOST):
            one = socket.create_connection(("127.0.0.1", port), timeout=60)
            crowd.append(one)
            if said:
                one.sendall(said)
            if said == HEALTH:
                assert one.recv(12) == b"HTTP/1.1 200"
            answer = httpx.get(narrow.url + "/health", timeout=60)
            assert answer.status_code == 200, answer.text
    finally:
        for one in crowd:
            one.close()


def test_who_is_not_let_in_is_counted_and_logged(
    narrow: Running, caplog: pytest.LogCaptureFixture
) -> None:
    admin = TenantAdmin(narrow.gateway.registry.database, who="tester")
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    wrong = key.text[:-1] + ("a" if key.text[-1] != "a" else "b")
    body = json.dumps({"model": "x", "messages": []})
    before = _counts(narrow)
    with caplog.at_level(logging.WARNING), narrow.http() as http:
        for headers in ({}, {"authorization": "Bearer nonsense"}, {"x-api-key": wrong}):
            answer = http.post("/v1/chat/completions", content=body, headers=headers)
            assert answer.status_code == 401
    after = _counts(narrow)
    assert sum(after.values()) - sum(before.values()) == 3
    assert after["none"] - before["none"] == 1
    lines = [record for record in caplog.records if record.getMessage() == "not let in"]
    assert len(lines) == 3
    assert {record.fields["client"] for record in lines} == {"127.0.0.1"}  # type: ignore[attr-defined]
    assert wrong not in caplog.text


def _counts(running: Running) -> dict[str, float]:
    value: Callable[..., float | None] = running.gateway.metrics.registry.get_sample_value
    return {
        kind: value("adapters_refusals_total", {"tenant": "", "reason": f"auth_{kind}"}) or 0.0
        for kind in ("none", "unknown", "refused")
    }
