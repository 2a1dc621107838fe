"""OpenAI's own Node package, unmodified, at a real gateway: a session over every method.

The package and the Node that it asks for are npm's, at the versions and hashes of
`node/package-lock.json`, and are installed once into `.cache/node`.
"""

from __future__ import annotations

import filecmp
import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.webhooks.signing import new_secret
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.jobs.test_conformance import Service
from tests.gateway.running import Loop

SCRIPT = Path(__file__).parent / "node"
CACHE = Path(__file__).resolve().parents[3] / ".cache" / "node"
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
SECRET = "CONFORMANCE_SECRET"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm: apt-get install npm"),
]


@pytest.fixture(scope="module")
def node() -> list[str]:
    """How the session is started, with the package beside it."""
    for name in ("package.json", "package-lock.json"):
        if not (CACHE / name).exists() or not filecmp.cmp(SCRIPT / name, CACHE / name, False):
            shutil.rmtree(CACHE, ignore_errors=True)
            CACHE.mkdir(parents=True)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPT / file, CACHE / file)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=600)
            if done.returncode:
                (CACHE / "package.json").unlink()  # the next run tries again
                pytest.fail(f"npm ci: {done.stderr[-2000:]}")
            break
    shutil.copy(SCRIPT / "session.mjs", CACHE / "session.mjs")
    machine = MACHINES[platform.machine()]
    return [str(CACHE / f"node_modules/node-linux-{machine}/bin/node"), "session.mjs"]


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def service(
    loop: Loop,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Service]:
    """A gateway that tells the session's own receiver what happens, and two workers."""
    monkeypatch.setenv(SECRET, new_secret())
    url = f"http://127.0.0.1:{port}/hook"
    hook = WebhookTable(
        name="session", url=url, secret_env=SECRET, events=("fine_tuning.job.*", "batch.*")
    )
    made = Service(loop, registry, base, tmp_path, webhooks=(hook,))
    made.begin()
    yield made
    made.close()


def test_every_method_of_the_node_package(service: Service, node: list[str], port: int) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "BASE_URL": service.house.running.url + "/v1",
        "KEY": service.house.keys["acme"],
        "MODEL": service.base.name,
        "HOME": str(service.registry.home),
        "WEBHOOK_PORT": str(port),
        "WEBHOOK_SECRET": os.environ[SECRET],
    }
    done = subprocess.run(
        node, cwd=CACHE, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["node"].startswith("v22.")
    assert told["methods"] >= 29
    assert told["events"] >= 4
