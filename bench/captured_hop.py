"""What capture costs a request: two tenants of one gateway, of which one lets its answers be kept.

Both ask the tests' stand-in engine, one after the other, in turns of `ROUND` requests, half of them
streamed; each question has personal data to be taken out. What differs is the tenant's consent
alone. Afterwards everything that was answered must have been kept, or counted as dropped.

    python -m bench.captured_hop [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from bench.report import percentile
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.small_base import SMALL_BASES

ROUND = 40
MODEL = "smollm2-135m-instruct"
TEXT = "Jane Roe, jane.roe@example.org, +49 30 901820, asks about amebic dysentery. " * 4


def measure(running: Running, key: str, count: int) -> list[float]:
    """Seconds of each request, from sending it to its last byte."""
    found = []
    with running.http(key) as http:
        for number in range(count):
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": TEXT}],
                "max_tokens": 16,
                "stream": bool(number % 2),
            }
            began = time.perf_counter()
            http.post("/v1/chat/completions", json=body).raise_for_status()
            found.append(time.perf_counter() - began)
    return found


def main() -> None:
    """Print medians and 95th percentiles of both, and the ratios of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.captured_hop")
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    loop = Loop()
    launcher = Launcher(loop)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        base = BaseStore(SMALL_BASES).ensure(MODEL)
        url = f"sqlite:///{home / 'index.db'}"
        with Registry.open(database=url, blobs=str(home / "blobs"), home=home) as registry:
            admin = TenantAdmin(registry.database, who="bench")
            keys = {
                name: admin.add(name, allow=("*",), limits=Limits())[1].text
                for name in ("kept", "plain")
            }
            admin.set("kept", {"capture": Consent(adapters=("*",))})
            engine = launcher.standin(base, StandIn(base.name, token_seconds=0.001))
            config = GatewayConfig(trust=TrustTable(proof="off"))
            running = launcher.gateway(registry, [engine], Path(folder) / "spool", config)
            running.wait_ready()
            times: dict[str, list[float]] = {"kept": [], "plain": []}
            ratios: list[float] = []
            for name in times:
                measure(running, keys[name], ROUND)  # not counted
            for number in range(rounds):
                now = {}
                for name in ("kept", "plain") if number % 2 else ("plain", "kept"):
                    now[name] = measure(running, keys[name], ROUND)
                    times[name] += now[name]
                ratios.append(statistics.median(now["kept"]) / statistics.median(now["plain"]))
            show(times, ratios)
            launcher.close()
            (family,) = running.gateway.metrics.captured.collect()
            told = {s.labels["outcome"]: s.value for s in family.samples if "_total" in s.name}
            kept = sum(1 for _ in running.gateway.capture.store.read())
            print(f"asked {(rounds + 1) * ROUND}, counted {told}, on the disk {kept}")
            assert sum(told.values()) == (rounds + 1) * ROUND
            assert kept == told["kept"]
    loop.close()


def show(times: dict[str, list[float]], ratios: list[float]) -> None:
    """Milliseconds of both tenants, and how the captured one's medians compare."""
    for name, found in times.items():
        middle, high = 1000 * statistics.median(found), 1000 * percentile(found, 95)
        print(
            f"{name}: median {middle:.2f} ms, 95th percentile {high:.2f} ms, {len(found)} requests"
        )
    print(
        f"ratio of the rounds' medians: {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f}–{max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
