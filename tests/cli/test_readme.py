"""Every command of the README is typed, in its order, in one home, with a real vLLM.

<<<<<<< HEAD
As it is written, with changes that only save time or reach: builds get fewer rows, the gateway a
free port, the Hub is the loopback stand-in, and in `make test` the base has two layers. The folder
has files of the user's with our names and libraries' (`registry.py`, `torch.py`): nothing that is
started may run one. What imports torch is started by Python itself once (the first build, the
engine), and then forked from a Python that has imported it.
=======
As it is written, with the changes that `tests/docs/scene.py` names; in `make test` the base has two
layers.
>>>>>>> a0e9784d (wip)
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.registry.bases.store import BaseStore
<<<<<<< HEAD
from tests.builders.workshop import COMMAND
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import OWNER
from tests.small_base import MODEL, WHOLE_BASES
from tests.users_files import executed, plant
from tests.warm.python import warm_python
=======
from tests.docs.blocks import ROOT, blocks
from tests.docs.scene import Scene, environment
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import OWNER
from tests.small_base import MODEL, WHOLE_BASES
>>>>>>> a0e9784d (wip)

README = ROOT / "README.md"


def typed() -> list[str]:
    """The lines that a reader types."""
    found = [block for block in blocks(README) if block.language == "console"]
    return [command.text for block in found for command in block.commands()]


@pytest.fixture
def hub() -> Iterator[str]:
    """The stand-in's URL; `org` belongs to the token's account."""
    with HubStandin({OWNER: Account("org")}) as standin:
        yield standin.url


def test_the_readme_names_what_it_should() -> None:
    lines = typed()
    for word in ("init", "plan", "build", "promote", "push", "serve", "chat", "ps", "tenant"):
        assert any(line.startswith(f"adapters {word}") for line in lines), word
    assert [line for line in lines if line.startswith("make ")] == ["make demo", "make test"]


@pytest.mark.engine
@pytest.mark.train
def test_every_command_of_the_readme_runs(
    tmp_path: Path, hub: str, either_bases: BaseStore
) -> None:
    either_bases.ensure(MODEL, quantization="nf4")
    variables = {
        "ADAPTERS_BASES": str(either_bases.root),
        "HF_ENDPOINT": hub,
        "HF_TOKEN": OWNER,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "ADAPTERS_GATEWAY_RESIDENCY__COLD_WAIT_SECONDS": "300",  # loading, on a busy machine
    }
<<<<<<< HEAD
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
=======
    folder = tmp_path / "checkout"
    (folder / "docs" / "tutorials").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "tutorials" / "tickets.csv", folder / "docs" / "tutorials")
    quick = either_bases.root != WHOLE_BASES
    scene = Scene(folder, environment(tmp_path, sys.executable, **variables), quick=quick)
    try:
        scene.page(README)
    finally:
        scene.close()
>>>>>>> a0e9784d (wip)
