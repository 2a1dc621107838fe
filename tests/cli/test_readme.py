"""Every command of the README is run, in its order, in one home.

As it is written, with changes that only save time or reach: builds get fewer rows, the gateway a
free port, the Hub is the loopback stand-in, and in `make test` the base has two layers. The folder
has files of the user's with our names and libraries' (`registry.py`, `torch.py`): nothing that is
started may run one. What imports torch is started by Python itself once (the first build, the
engine), and then forked from a Python that has imported it.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.registry.bases.store import BaseStore
from tests.builders.workshop import COMMAND
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import OWNER
from tests.small_base import MODEL, WHOLE_BASES
from tests.users_files import executed, plant
from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[2]
FEWER_ROWS = (
    "--set data.limit=32 --set data.limit_validation=8 --set data.limit_test=8 "
    "--set train.batch_size=8 --set evaluate.max_new_tokens=4 --set train.epochs=1"
)
READMES_OWN = ("make demo", "make test")


def readme_blocks() -> list[tuple[str, str]]:
    """(language, text) of the README's fenced blocks, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines that a reader would type, continuation lines joined."""
    lines = []
    for language, text in readme_blocks():
        if language == "console":
            joined = text.replace("\\\n", " ")
            lines += [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+#.*$", "", line).strip() for line in lines]


@pytest.fixture
def hub() -> Iterator[str]:
    """The stand-in's URL; `org` belongs to the token's account."""
    with HubStandin({OWNER: Account("org")}) as standin:
        yield standin.url


def test_the_readme_names_what_it_should() -> None:
    typed = commands()
    for word in ("validate", "plan", "build", "promote", "push", "serve", "chat", "ps"):
        assert any(line.startswith(f"adapters {word}") for line in typed), word
    assert [line for line in typed if line.startswith("make ")] == list(READMES_OWN)


@pytest.mark.engine
@pytest.mark.train
def test_every_command_of_the_readme_runs(
    tmp_path: Path, hub: str, either_bases: BaseStore
) -> None:
    either_bases.ensure(MODEL, quantization="nf4")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ADAPTERS_HOME": str(tmp_path / "home"),
        "ADAPTERS_BASES": str(either_bases.root),
        "ADAPTERS_USER": "you",
        "HF_ENDPOINT": hub,
        "HF_TOKEN": OWNER,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "ADAPTERS_GATEWAY_RESIDENCY__COLD_WAIT_SECONDS": "300",  # loading, on a busy machine
    }
    if either_bases.root != WHOLE_BASES:  # two layers find no end, and write until there is no room
        environment["ADAPTERS_GATEWAY_ENGINES"] = '[{quantization = "nf4", max_model_len = 384}]'
    for language, text in readme_blocks():
        if language == "toml":
            (tmp_path / "medical.toml").write_text(text, encoding="utf-8")
    plant(tmp_path)
    server: subprocess.Popen[str] | None = None
    built = False
    url = "http://127.0.0.1:8080"
    try:
        for line in commands():
            line = line.replace("http://127.0.0.1:8080", url)
            if line in READMES_OWN:
                continue
            if line.startswith("adapters serve"):
                server = subprocess.Popen(
                    [*shlex.split(line), "--port", "0"],
                    env=environment,
                    cwd=tmp_path,
                    start_new_session=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                assert server.stdout is not None
                url = server.stdout.readline().strip()
                environment["ADAPTERS_URL"] = url
                _wait(f"{url}/ready", server)
                continue
            path = environment["PATH"]
            if line.startswith("adapters plan") or (built and line.startswith("adapters build")):
                path = f"{warm_adapters(tmp_path)}:{path}"
            if line.startswith("adapters build"):
                line, built = f"{line} {FEWER_ROWS}", True
            done = subprocess.run(
                line,
                shell=True,
                env={**environment, "PATH": path},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        for language, text in readme_blocks():
            if language == "python":
                code = text.replace("http://127.0.0.1:8080", url)
                done = subprocess.run(
                    [sys.executable, "-c", code], env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stderr
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
            assert server.stdout is not None
            server.stdout.close()
    assert executed(tmp_path) == []


def warm_adapters(folder: Path) -> Path:
    """A folder with an `adapters` that starts in a moment."""
    script = folder / "warm" / "adapters"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec "{warm_python()}" -P -c "{COMMAND}" "$@"\n')
    script.chmod(0o755)
    return script.parent


def _wait(url: str, server: subprocess.Popen[str], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, f"the gateway ended with {server.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} did not answer within {seconds:.0f} s")
