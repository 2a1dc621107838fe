"""How long a gateway takes to be ready with 100 releases, and with 5,000.

A gateway process in front of an engine that runs elsewhere, on an index and a blob folder with one
name and one alias a release. `first` is the first gateway ever on that index, which reads each
record once; `next` is any other. `slow store` is a blob store that takes 20 ms for each answer, as
an object store does.

    python -m bench.gateway_start [--sizes 100 5000] [--runs 3]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from adapterworks.registry.index import versions
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import FileEntry, Release
from bench.report import Row, figure, show
from tests.registry.releases import BASE, draft

RUNS = 3
SLOW = "slow store, "
CONFIG = """
[[engines]]
discover = "file:engines.toml"
"""
# The gateway's own command, on a store whose every answer comes late.
LATE = """
import sys, time
from adapterworks.registry.blobs.local import LocalBlobs
get = LocalBlobs.get
def late(self, digest):
    time.sleep(0.02)
    return get(self, digest)
LocalBlobs.get = late
from adapterworks.cli.main import main
sys.argv = ["adapters", *sys.argv[1:]]
main()
"""


def fill(registry: Registry, count: int) -> None:
    """A name, a version and an alias each; nobody reads the bytes of their files."""
    for number in range(1, count + 1):
        entry = FileEntry.at("servable/a", digest=f"sha256:{number:064d}", size=9)
        name = f"adapter-{number}"
        release = Release.from_draft(draft(number, name=name), {"servable/a": entry})
        registry.blobs.put(release.digest, release.to_bytes())
        with registry.database.write() as connection:
            versions.insert_versions(connection, name, [release], who="bench")
        registry.promote(name, 1, "prod", who="bench")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """The URL of an engine that loads whatever it is told to."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port), BASE.model, BASE.digest]
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def start(home: Path, *, late: bool) -> tuple[float, float]:
    """Seconds from the command to `/ready`, and MiB that the process has then."""
    port = free_port()
    adapters = str(Path(sys.executable).with_name("adapters"))
    program = [sys.executable, "-c", LATE] if late else [adapters]
    command = [*program, "serve", "--open", "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--config", str(home / "gateway.toml")],
        env={**os.environ, "ADAPTERS_HOME": str(home), "ADAPTERS_GATEWAY_TRUST__PROOF": "off"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        return seconds, psutil.Process(process.pid).memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait(60)


def measure(size: int, runs: int, url: str, root: Path, *, late: bool) -> list[Row]:
    """The first start on a copy of one home each, and the second there."""
    made = root / f"{size}"
    if not made.exists():
        with Registry.open(
            database=f"sqlite:///{made / 'index.db'}", blobs=str(made / "blobs"), home=made
        ) as registry:
            fill(registry, size)
        (made / "gateway.toml").write_text(CONFIG)
    (made / "engines.toml").write_text(f'urls = ["{url}"]\n')
    first, following, memory = [], [], []
    for run in range(runs):
        home = root / f"{size}-{late}-{run}"
        shutil.copytree(made, home)
        first.append(start(home, late=late)[0])
        seconds, mib = start(home, late=late)
        following.append(seconds)
        memory.append(mib)
        shutil.rmtree(home)
    what = f"{SLOW if late else ''}{size:,} releases"
    return [
        figure(f"{what}: first gateway", "s", first),
        figure(f"{what}: next gateway", "s", following),
        figure(f"{what}: next gateway's memory", "MiB", memory),
    ]


def run(sizes: list[int], runs: int) -> list[Row]:
    """All sizes, on a fast and on a slow store."""
    with tempfile.TemporaryDirectory() as folder, engine() as url:
        return [
            row
            for size in sizes
            for late in (False, True)
            for row in measure(size, runs, url, Path(folder), late=late)
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 5000])
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    show("A gateway's start", run(options.sizes, options.runs), name="gateway_start")
