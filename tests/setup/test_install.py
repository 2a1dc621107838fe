"""`make setup`: a torch that does not import is replaced, and nothing needs a network or uv.

The script runs as it is, in a copy of `requirements/` with small locks of wheels made here.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
UV = Path(sys.executable).with_name("uv")
BROKEN = "raise ImportError('libcudart.so.13: cannot open shared object file')\n"
WORKS = "__version__ = '9.9.9'\n"


def wheel(folder: Path, name: str, version: str, code: str = "") -> str:
    """Make a wheel with one module; returns the lock's line for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL that it is served under; `simple/NAME/` are its packages."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Setup:
    """A copy of the scripts with locks of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def lock(self, name: str, *lines: str) -> None:
        """Write a lock."""
        (self.folder / "requirements" / f"{name}.lock").write_text("".join(lines))

    def run(self, script: str, *arguments: str, before: tuple[str, ...] = (), **more: str) -> str:
        """Run a script to a good end; returns what it printed."""
        done = self.try_(script, *arguments, before=before, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_(
        self, script: str, *arguments: str, before: tuple[str, ...] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        command = [*before, "sh", str(self.folder / "requirements" / script), *arguments]
        environment = self.environment | more
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300
        )

    def torch(self) -> str:
        """The version of torch that imports in the environment."""
        python = self.folder / ".venv" / "bin" / "python"
        code = "import torch; print(torch.__version__)"
        return subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture
def setup(tmp_path: Path, index: tuple[Path, str]) -> Setup:
    """Scripts whose index is the local one; torch of the lock does not import."""
    (tmp_path / "project" / "requirements").mkdir(parents=True)
    for script in ("install.sh", "wheelhouse.sh"):
        shutil.copy(REQUIREMENTS / script, tmp_path / "project" / "requirements")
    folder, url = index
    lines = [
        wheel(folder / "simple" / "torch", "torch", "9.9.9", BROKEN),
        wheel(folder / "simple" / "small", "small", "1.0", ""),
    ]
    wheel(folder / "simple" / "setuptools", "setuptools", "99.0")
    wheel(folder / "simple" / "wheel", "wheel", "99.0")
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    made = Setup(
        tmp_path / "project",
        own
        | {
            "PYTHON": sys.executable,
            "PROJECT": "none",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{url}/simple",
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "PIP_CACHE_DIR": str(tmp_path / "pip"),
        },
    )
    made.lock("cpu", *lines)
    made.lock("torch-cpu", "torch==9.9.9+cpu \\\n    --hash=sha256:", "0" * 64, "\n")
    made.lock("uv")  # without a line: uv cannot be had
    return made


def cpu_index(index: tuple[Path, str]) -> Mapping[str, str]:
    """A second index, with a torch that imports."""
    folder, url = index
    wheel(folder / "cpu" / "torch", "torch", "9.9.9+cpu", WORKS.replace("9.9.9", "9.9.9+cpu"))
    return {"TORCH_INDEX": f"{url}/cpu"}


@pytest.mark.parametrize("uv", [str(UV), ""], ids=["uv", "pip"])
def test_a_torch_that_does_not_import_is_replaced(
    setup: Setup, index: tuple[Path, str], uv: str
) -> None:
    """As on an ordinary machine whose index has a CUDA build: found out, and no question asked."""
    script = setup.folder / "requirements" / "install.sh"
    replacement = cpu_index(index)["TORCH_INDEX"]
    text = script.read_text()
    assert "cpu_builds=https://download.pytorch.org/whl/cpu\n" in text
    script.write_text(text.replace("https://download.pytorch.org/whl/cpu", replacement))
    said = setup.run("install.sh", ".venv", UV=uv)
    assert f"with {'uv' if uv else 'pip'}" in said
    assert "replacing it" in said
    assert setup.torch() == "9.9.9+cpu"
    assert "replacing it" not in setup.run("install.sh", ".venv", UV=uv)
    assert setup.torch() == "9.9.9+cpu"


def test_an_index_that_is_named_is_asked_first(setup: Setup, index: tuple[Path, str]) -> None:
    said = setup.run("install.sh", ".venv", **cpu_index(index))
    assert "replacing it" not in said
    assert "its version" in said
    assert setup.torch() == "9.9.9+cpu"


def test_without_a_torch_that_imports_it_says_what_to_do(
    setup: Setup, index: tuple[Path, str]
) -> None:
    nothing = {"TORCH_INDEX": f"{index[1]}/none"}
    done = setup.try_("install.sh", ".venv", **nothing)
    assert done.returncode == 1
    assert "error: torch could not be had from" in done.stderr
    assert "hint: name another: make setup TORCH_INDEX=URL" in done.stderr


def test_a_file_with_another_hash_is_not_installed(setup: Setup, index: tuple[Path, str]) -> None:
    wheel(index[0] / "simple" / "small", "small", "1.0", "evil = True\n")
    done = setup.try_("install.sh", ".venv", **cpu_index(index))
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert not [*(setup.folder / ".venv").rglob("small.py")]


def test_a_half_done_environment_is_mended(setup: Setup, index: tuple[Path, str]) -> None:
    (setup.folder / ".venv" / "bin").mkdir(parents=True)
    (setup.folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    assert "making it anew" in setup.run("install.sh", ".venv", **cpu_index(index))
    assert setup.torch() == "9.9.9+cpu"


def test_an_old_python_is_refused(setup: Setup, tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = setup.try_("install.sh", ".venv", PYTHON=str(old))
    assert done.returncode == 1
    assert "is not a Python from 3.11 to 3.13" in done.stderr


@pytest.mark.parametrize("uv", [str(UV), ""], ids=["uv", "pip"])
def test_a_wheelhouse_needs_no_network(setup: Setup, index: tuple[Path, str], uv: str) -> None:
    """Made where there is an index, used in a network namespace that has nothing."""
    said = setup.run("wheelhouse.sh", "house", **cpu_index(index))
    assert "2 packages of cpu.lock" in said
    away = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")
    done = setup.run("install.sh", ".venv", before=away, UV=uv, WHEELHOUSE="house")
    assert "no network" in done
    assert setup.torch() == "9.9.9+cpu"
    assert [*(setup.folder / ".venv").rglob("small.py")]


def test_a_folder_that_is_no_wheelhouse_is_named(setup: Setup) -> None:
    done = setup.try_("install.sh", ".venv", WHEELHOUSE="nowhere")
    assert done.returncode == 1
    assert "there is no folder `nowhere`" in done.stderr
    assert "make wheelhouse" in done.stderr


def test_where_no_other_torch_can_be_had_it_says_so(setup: Setup, index: tuple[Path, str]) -> None:
    script = setup.folder / "requirements" / "install.sh"
    nowhere = f"{index[1]}/none"
    script.write_text(script.read_text().replace("https://download.pytorch.org/whl/cpu", nowhere))
    done = setup.try_("install.sh", ".venv")
    assert done.returncode == 1
    assert f"error: torch does not import, and no other could be had from {nowhere}" in done.stderr
    assert "make setup TORCH_INDEX=URL" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_lock_from_a_wheelhouse(tmp_path: Path) -> None:
    """`make wheelhouse` with a network, `make setup` and the command without one."""
    root = REQUIREMENTS.parent
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", root, clone], check=True)
    subprocess.run(["make", "wheelhouse"], cwd=clone, check=True)
    away = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
    environment = os.environ | {"UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_NO_CACHE_DIR": "1"}
    setup = [*away, "make", "setup", "WHEELHOUSE=wheelhouse"]
    subprocess.run(setup, cwd=clone, env=environment, check=True)
    help_ = [*away, clone / ".venv" / "bin" / "adapters", "doctor", "--json"]
    done = subprocess.run(help_, cwd=clone, env=environment, capture_output=True, text=True)
    assert '"name": "build", "level": "ok"' in " ".join(done.stdout.split()), done.stdout
