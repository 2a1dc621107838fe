"""Our gateway in front of the upstream: an adapter, asked for by a tenant with every limit."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from bench import apart
from bench.hop.side import BASE, ROOT, Side, process
from bench.random_lora import make_adapters, publish
from bench.serving import free_port

ADAPTER = "medical"
# High enough that none is reached; all four are there, so all four are looked at and kept.
LIMITS = ("--rpm", "10M", "--tpm", "10G", "--max-concurrency", "4096", "--monthly-tokens", "1000G")
_MAIN = "from adapterworks.cli.main import main; main()"


@contextlib.contextmanager
def gateway(upstream: str, name: str = "gateway", tree: Path = ROOT) -> Iterator[Side]:
    """Serve one adapter to one tenant.

    Args:
        name: of the side.
        tree: the checkout whose gateway it is; another than this one is measured beside it.
    """
    with tempfile.TemporaryDirectory(prefix="adapterworks-hop-") as folder:
        home = Path(folder)
        environment = apart.environment(
            home,
            # An upstream that computes nothing cannot reproduce a fingerprint.
            ADAPTERS_GATEWAY_TRUST__PROOF="off",
            ADAPTERS_GATEWAY_FAIRNESS__SLOTS="512",
            PYTHONPATH=str(tree),
        )
        _publish(home)
        adapters = [sys.executable, "-P", "-c", _MAIN]
        add = [*adapters, "tenant", "add", "bench", "--allow", "*", *LIMITS, "--json"]
        added = subprocess.run(
            add, env=environment, cwd=tree, check=True, capture_output=True, text=True
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [*adapters, "serve", "--port", str(port), "--engine", upstream, "--base", BASE]
        with process(serve, f"{url}/ready", environment) as running:
            yield Side(name, url, ADAPTER, _key(added.stdout), running)


def _publish(home: Path) -> None:
    base = BaseStore(ROOT / ".cache" / "bases").ensure(BASE)
    release = home / "release"
    release.mkdir()
    (adapter,) = make_adapters(base.served, home / "made", 1, 8)
    adapter.rename(release / "servable")
    url = f"sqlite:///{home / 'index.db'}"
    with Registry.open(database=url, blobs=str(home / "blobs"), home=home) as registry:
        publish(registry, release, base, ADAPTER, 1)
        registry.promote(ADAPTER, 1, "prod", who="bench")


def _key(output: str) -> str:
    document = json.loads(output)
    key = document["key"]
    return str(key["key"] if isinstance(key, dict) else key)
