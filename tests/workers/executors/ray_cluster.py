"""A real Ray on this machine: a head that runs no tasks, and nodes of one core each."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import apart

PATIENCE_S = 120.0
_STORE = ["--object-store-memory", "100000000"]
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    # What a busy core is slow to start is waited for, and nothing starts that nobody needs.
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
}


@dataclass
class Cluster:
    """What runs.

    Attributes:
        address: `HOST:PORT` of the dashboard.
        nodes: the processes that are nodes; each began with a home of its own.
    """

    address: str
    folder: Path
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, node: str) -> Path:
        """Of a node: ADAPTERS_HOME."""
        return self.folder / node

    def kill(self, node: str) -> None:
        """End a node as a lost machine does: all that it is, at once."""
        process = psutil.Process(self.nodes.pop(node).pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)


def is_there() -> bool:
    """Whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


@contextlib.contextmanager
def cluster(folder: Path, *, nodes: int, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """Start it, wait until every node is known, and end it.

    Args:
        environment: that nodes have, as their machines would.
    """
    port, dashboard = _port(), _port()
    # Unix sockets lie under it, so it is short.
    temporary = tempfile.mkdtemp(prefix="ray-")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    base = apart.environment(folder, bases=None) | {**_SETTINGS, **environment, "PATH": path}
    running = Cluster(f"127.0.0.1:{dashboard}", folder)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *_STORE]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)

        def start(name: str, *options: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [*command, *options, f"--dashboard-agent-listen-port={_port()}"],
                env={**base, "ADAPTERS_HOME": str(running.home(name))},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(_end, process)
            return process

        start(
            "head", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=0",
            f"--temp-dir={temporary}", f"--ray-client-server-port={_port()}",
            "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1",
        )  # fmt: skip
        _until(lambda: _answers(dashboard), folder)
        for number in range(nodes):
            name = f"n{number}"
            running.nodes[name] = start(
                name, f"--address=127.0.0.1:{port}", "--num-cpus=1", "--node-ip-address=127.0.0.1"
            )
            _until(lambda known=number + 2: _alive(running.address) == known, folder)
        yield running


def _alive(address: str) -> int:
    from ray.util.state import list_nodes

    with contextlib.suppress(Exception):
        return sum(node.state == "ALIVE" for node in list_nodes(address=f"http://{address}"))
    return 0


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _until(true: object, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        said = "".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log"))
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        for one in (*found.children(recursive=True), found):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()
