"""What do clients see while the index is away, and is anything lost?

A gateway on PostgreSQL with the tests' stand-in engine; four clients of a tenant with every limit
ask without a pause. Then the server is stopped for a while, or a proxy in front of it stops
forwarding (nothing is refused, nothing answers). Requests must be answered or told 503 within two
seconds, everything must recover by itself, and what was metered must be what the engine counted.

    python -m bench.index_away [--stopped 20 90] [--silent 20]
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import sqlalchemy as sa

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.registry import Registry
from bench.report import Row, figure, show
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop
from tests.postgres import new_database, server
from tests.registry.releases import BASE, publish

CLIENTS, BEFORE, AFTER = 4, 5.0, 20.0
MODEL = "stand-in"
LIMITS = Limits(rpm=6_000_000, tpm=600_000_000, max_concurrency=64, monthly_tokens=10**12)
BODY = {"model": "medical", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}


class Proxy:
    """TCP in front of the server's socket, which can fall silent."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.flows = threading.Event()
        self.flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self.flows.wait()
            behind = socket.socket(socket.AF_UNIX)
            try:
                behind.connect(self._path)
            except OSError:
                client.close()
                continue
            for one, other in ((client, behind), (behind, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.flows.wait()
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass
class Seen:
    """Each request: when it was sent, what came, after how long."""

    asked: list[tuple[float, int, float]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[tuple[float, int, float]]:
        """Those sent in that time."""
        return [one for one in self.asked if begin <= one[0] < end]


@contextlib.contextmanager
def clients(url: str, key: str, seen: Seen) -> Iterator[None]:
    """They ask while the block runs."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as http:
            while not over.wait(0.02):
                began = time.monotonic()
                try:
                    status = http.post("/v1/chat/completions", json=BODY, timeout=60).status_code
                except httpx.HTTPError:
                    status = 0
                seen.asked.append((began, status, time.monotonic() - began))

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def run(
    url: str, seconds: float, away: Callable[[], None], back: Callable[[], None], what: str
) -> list[Row]:
    """One time away."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        registry = Registry.open(database=url, blobs=str(home / "blobs"), home=home)
        stack.callback(registry.close)
        publish(registry, home, 1, name="medical", alias="prod")
        name = f"limited-{int(time.time())}"
        key = TenantAdmin(registry.database, who="bench").add(name, allow=("*",), limits=LIMITS)[1]
        standin, loop = StandIn(MODEL, token_seconds=0.001), Loop()
        stack.callback(loop.close)
        launcher = Launcher(loop)
        stack.callback(launcher.close)
        engine = launcher.standin(ServedBase(MODEL, MODEL, BASE.digest), standin)
        config = GatewayConfig(trust=TrustTable(proof="off"))
        running = launcher.gateway(registry, [engine], home / "spool", config)
        running.wait_ready()
        time.sleep(1.0)  # the key is new
        seen = Seen()
        with clients(running.url, key.text, seen):
            time.sleep(BEFORE)
            gone = time.monotonic()
            away()
            time.sleep(seconds)
            back()
            there = time.monotonic()
            time.sleep(AFTER)
        metered = _metered(registry, set(standin.counted))
        return _rows(what, seen, gone, there, standin, metered)


def _metered(registry: Registry, wanted: set[str]) -> dict[str, tuple[int, int]]:
    """Every event, once all that the engine began are there, or after a minute."""
    query = sa.select(
        usage_events.c.request_id, usage_events.c.prompt_tokens, usage_events.c.completion_tokens
    ).where(usage_events.c.request_id.in_(wanted))
    deadline = time.monotonic() + 60
    while True:
        with registry.database.read() as connection:
            found = {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
        if len(found) == len(wanted) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _rows(
    what: str,
    seen: Seen,
    gone: float,
    there: float,
    standin: StandIn,
    metered: dict[str, tuple[int, int]],
) -> list[Row]:
    def row(name: str, value: float, goal: str = "", unit: str = "", note: str = "") -> Row:
        return figure(f"{what}: {name}", unit, [value], goal=goal, note=note)

    during, after = seen.between(gone, there), seen.between(there, there + AFTER)
    well = [at + took for at, status, took in seen.asked if status == 200 and at >= there]
    wrong = sum(metered.get(name) != counts for name, counts in standin.counted.items())
    others = [status for _, status, _ in seen.asked if status not in (200, 503)]
    recovered = min(well, default=there + AFTER) - there
    settled = [one for one in after if one[0] > there + recovered]
    return [
        row("answered meanwhile", sum(status == 200 for _, status, _ in during)),
        row("503 meanwhile", sum(status == 503 for _, status, _ in during)),
        row("the slowest of them", max((took for *_, took in during), default=0.0), "≤2", "s"),
        row("other statuses, ever", len(others), "≤0", note=str(sorted(set(others)))),
        row("first answer after it is back", recovered, "≤5", "s"),
        row("503 after that", sum(status != 200 for _, status, _ in settled), "≤0",
            note=f"of {len(settled)}"),
        row("begun by the engine", len(standin.counted), note="its own count, by request id"),
        row("metered otherwise or not", wrong, "≤0", note="index, engine"),
    ]  # fmt: skip


def _socket(uri: str) -> str:
    """The path of the server's socket."""
    folder = parse_qs(urlsplit(uri).query)["host"][0]
    return str(next(Path(folder).glob(".s.PGSQL.*[0-9]")))


def main() -> int:
    """Run, print, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stopped", type=float, nargs="*", default=[20.0, 90.0])
    parser.add_argument("--silent", type=float, nargs="*", default=[20.0])
    options = parser.parse_args()
    logging.getLogger("adapterworks").setLevel(logging.CRITICAL)
    table: list[Row] = []
    with server() as postgresql:
        uri = str(postgresql.get_uri())
        for seconds in options.stopped:
            what = f"stopped for {seconds:g} s"
            table += run(new_database(uri), seconds, postgresql.stop, postgresql.start, what)
        for seconds in options.silent:
            proxy: Any = Proxy(_socket(uri))
            schema = new_database(uri).rpartition("options=")[2]
            through = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?options={schema}"
            what = f"silent for {seconds:g} s"
            table += run(through, seconds, proxy.flows.clear, proxy.flows.set, what)
    show("An index that is away", table, name="index_away")
    return int(any(row.met is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
