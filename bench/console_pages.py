"""How long pages of the console take with 1,000 adapters of 10 versions each.

A whole gateway on loopback, its engine a stand-in; a browser's requests one after another over one
connection, each page read to its end.

    python -m bench.console_pages [--adapters 1000] [--versions 10] [--times 50]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from adapterworks.gateway.config.tables import GatewayConfig, RegistryTable, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.registry.index import versions
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import FileEntry, Release
from tests.gateway.console.browsing import Browser
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop
from tests.registry.releases import draft


def fill(registry: Registry, adapters: int, each: int) -> None:
    """Insert the rows of versions, and an alias that no gateway loads on the newest; no blobs."""
    number = 0
    with registry.database.write() as connection:
        for adapter in range(adapters):
            name, releases = f"adapter-{adapter:05d}", []
            for _ in range(each):
                number += 1
                path = "servable/adapter_model.safetensors"
                file = FileEntry.at(path, digest=f"sha256:{number:064d}", size=9)
                releases.append(Release.from_draft(draft(number, name), {path: file}))
            versions.insert_versions(connection, name, releases, who="bench")
    for adapter in range(adapters):
        registry.promote(f"adapter-{adapter:05d}", each, "next", who="bench")


def run(adapters: int, each: int, times: int) -> dict[str, list[float]]:
    """Milliseconds of each page, `times` each."""
    loop = Loop()
    launcher = Launcher(loop)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        fill(registry, adapters, each)
        token = Tokens(registry.database).create("bench", Role.READER, who="bench").text
        base = ServedBase("base", "base", "sha256:" + "b" * 64)
        running = launcher.gateway(
            registry,
            [launcher.standin(base, StandIn("base"))],
            home / "spool",
            GatewayConfig(trust=TrustTable(proof="off"), registry=RegistryTable(on=True)),
        )
        middle = f"adapter-{adapters // 2:05d}"
        pages = {
            "first page": "/adapters",
            "page in the middle": f"/adapters?after={middle}",
            "search, one found": f"/adapters?q={middle}",
            "search, all found": "/adapters?q=coding",
            "one adapter": f"/adapters/{middle}",
        }
        found: dict[str, list[float]] = {name: [] for name in pages}
        with Browser(running.url) as browser:
            assert browser.log_in(token).status_code == 303
            for _ in range(times):
                for name, path in pages.items():
                    begun = time.perf_counter()
                    answer = browser.get(path)
                    found[name].append(1000 * (time.perf_counter() - begun))
                    assert answer.status_code == 200, name
        launcher.close()
        registry.close()
    loop.close()
    return found


def main() -> None:
    """Print a row for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--times", type=int, default=50)
    options = parser.parse_args()
    found = run(options.adapters, options.versions, options.times)
    print(f"{options.adapters} adapters of {options.versions} versions; ms")
    print("| page | median | 95th percentile | most |\n|---|---|---|---|")
    for name, values in found.items():
        high = statistics.quantiles(values, n=20)[-1]
        print(f"| {name} | {statistics.median(values):.1f} | {high:.1f} | {max(values):.1f} |")


if __name__ == "__main__":
    main()
