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
WORKS = "__version__ = '9.9.9+cpu'\n"
PYTORCH = "https://download.pytorch.org/whl/cpu"
# `make test` passes on what `make setup` was told; the scripts under test are told by the test.
TOLD = ("DEVICE", "PYTHON", "TORCH_INDEX", "WHEELHOUSE", "UV", "PROJECT")
AWAY = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")

with_uv_and_with_pip = pytest.mark.parametrize(
    "uv",
    [
        pytest.param(str(UV), id="uv", marks=pytest.mark.skipif(not UV.exists(), reason="no uv")),
        pytest.param("", id="pip", marks=pytest.mark.slow),
    ],
)


@functools.cache
def away() -> tuple[str, ...]:
    """The command that takes the network away; skips where it is not permitted."""
    if shutil.which("unshare") is None or subprocess.run([*AWAY, "true"], check=False).returncode:
        pytest.skip("a network namespace of its own is not permitted here")
    return AWAY


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


@pytest.fixture(scope="session")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip only, to copy: making one takes seconds."""
    folder = tmp_path_factory.mktemp("bare") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


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

    @property
    def venv(self) -> Path:
        """The environment that the tests set up."""
        return self.folder / ".venv"

    def pytorch(self, url: str) -> None:
        """Have a URL in the place of PyTorch's own index."""
        text = (REQUIREMENTS / "shared.sh").read_text()
        assert f"CPU_BUILDS={PYTORCH}\n" in text
        script = self.folder / "requirements" / "shared.sh"
        script.write_text(text.replace(PYTORCH, url))

    def installed(self) -> set[str]:
        """The names of the modules in the environment."""
        return {file.stem for file in self.venv.rglob("site-packages/*.py")}

    def torch(self) -> str:
        """The version of torch that imports in the environment."""
        python = self.venv / "bin" / "python"
        code = "import torch; print(torch.__version__)"
        return subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture
def setup(tmp_path: Path, index: tuple[Path, str], bare_environment: Path) -> Setup:
    """Scripts whose index is the local one; torch of the lock does not import."""
    (tmp_path / "my project" / "requirements").mkdir(parents=True)
    shutil.copytree(bare_environment, tmp_path / "my project" / ".venv", symlinks=True)
    for script in ("install.sh", "wheelhouse.sh", "shared.sh"):
        shutil.copy(REQUIREMENTS / script, tmp_path / "my project" / "requirements")
    folder, url = index
    lines = [
        wheel(folder / "simple" / "torch", "torch", "9.9.9", BROKEN),
        wheel(folder / "simple" / "small", "small", "1.0", ""),
    ]
    wheel(folder / "simple" / "setuptools", "setuptools", "99.0")
    wheel(folder / "simple" / "wheel", "wheel", "99.0")
    own = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PIP_", "UV_")) and key not in TOLD
    }
    made = Setup(
        tmp_path / "my project",
        own
        | {
            "PYTHON": sys.executable,
            "PROJECT": "none",
            "UV": str(UV) if UV.exists() else "",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{url}/simple",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "PIP_CACHE_DIR": str(tmp_path / "pip"),
        },
    )
    made.lock("cpu", *lines)
    made.lock("torch-cpu", "torch==9.9.9+cpu \\\n    --hash=sha256:", "0" * 64, "\n")
    made.lock("uv")  # without a line: uv cannot be had
    made.pytorch(f"{url}/none")
    return made


def cpu_index(index: tuple[Path, str]) -> Mapping[str, str]:
    """A second index, with a torch that imports."""
    folder, url = index
    wheel(folder / "cpu" / "torch", "torch", "9.9.9+cpu", WORKS)
    return {"TORCH_INDEX": f"{url}/cpu"}


@with_uv_and_with_pip
def test_a_torch_that_does_not_import_is_replaced(
    setup: Setup, index: tuple[Path, str], uv: str
) -> None:
    """As on an ordinary machine whose index has a CUDA build: found out, and no question asked."""
    setup.pytorch(cpu_index(index)["TORCH_INDEX"])
    said = setup.run("install.sh", ".venv", UV=uv)
    assert f"with {'uv' if uv else 'pip'}" in said
    assert "replacing it" in said
    assert setup.torch() == "9.9.9+cpu"
    assert "replacing it" not in setup.run("install.sh", ".venv", UV=uv)
    assert setup.torch() == "9.9.9+cpu"


def test_an_index_that_is_named_is_asked_first(setup: Setup, index: tuple[Path, str]) -> None:
    said = setup.run("install.sh", ".venv", **cpu_index(index))
    assert "replacing it" not in said
    assert "was taken by its version" in said
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
    assert "small" not in setup.installed()


@pytest.mark.slow
def test_a_half_done_environment_is_mended(setup: Setup, index: tuple[Path, str]) -> None:
    (setup.venv / "bin" / "python").unlink()
    (setup.venv / "bin" / "python").symlink_to("/nowhere/python")
    assert "making it anew" in setup.run("install.sh", ".venv", **cpu_index(index))
    assert setup.torch() == "9.9.9+cpu"


@pytest.mark.slow
def test_packages_of_which_half_may_be_there_are_installed_anew(
    setup: Setup, index: tuple[Path, str]
) -> None:
    """An installer that was killed leaves a package that looks installed."""
    setup.run("install.sh", ".venv", **cpu_index(index))
    (small,) = setup.venv.rglob("small.py")
    small.unlink()
    (setup.venv / ".installing").touch()
    said = setup.run("install.sh", ".venv", **cpu_index(index))
    assert "was left in the middle of an installation: making it anew" in said
    assert small.exists()
    assert not (setup.venv / ".installing").exists()


@pytest.mark.slow
def test_pip_does_not_go_on_where_uv_was_killed(setup: Setup, tmp_path: Path) -> None:
    """As by the kernel, for want of memory: it would take half a package for a whole one."""
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nkill -9 $$\n")
    uv.chmod(0o755)
    done = setup.try_("install.sh", ".venv", UV=str(uv))
    assert done.returncode == 1
    assert "error: uv was killed\n\nhint: run it again" in done.stderr
    assert "making it anew" in setup.try_("install.sh", ".venv").stdout


@pytest.mark.slow
def test_where_uv_fails_pip_goes_on(setup: Setup, index: tuple[Path, str], tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho a bug of uv\nexit 2\n")
    uv.chmod(0o755)
    done = setup.try_("install.sh", ".venv", UV=str(uv))
    assert "uv failed, pip tries" in done.stdout
    assert "a bug of uv" in done.stderr
    assert "small" in setup.installed()


@pytest.mark.slow
def test_a_torch_of_another_version_than_the_locks_goes(
    setup: Setup, index: tuple[Path, str]
) -> None:
    """It imports, but the lock has moved on."""
    setup.run("install.sh", ".venv", **cpu_index(index))
    newer = wheel(index[0] / "simple" / "torch", "torch", "9.9.10", "__version__ = '9.9.10'\n")
    setup.lock("cpu", newer)
    setup.lock("torch-cpu", "torch==9.9.10+cpu \\\n    --hash=sha256:", "0" * 64, "\n")
    setup.run("install.sh", ".venv")
    assert setup.torch() == "9.9.10"


@pytest.mark.slow
def test_another_device_has_an_environment_of_its_own(
    setup: Setup, index: tuple[Path, str]
) -> None:
    """The two engines are one package: one over the other would be neither."""
    packages = index[0] / "simple"
    for device in ("cpu", "gpu"):
        engine = wheel(packages / f"engine{device}", f"engine{device}", "1.0")
        torch = wheel(packages / "torch", "torch", "9.9.9", f"__version__ = '9.9.9 {device}'\n")
        setup.lock(device, torch, engine)
        setup.run("install.sh", ".venv", DEVICE=device, UV_NO_CACHE="1", PIP_NO_CACHE_DIR="1")
        assert setup.installed() & {"enginecpu", "enginegpu"} == {f"engine{device}"}
        assert setup.torch() == f"9.9.9 {device}"


@pytest.mark.slow
def test_make_remembers_the_device(setup: Setup, index: tuple[Path, str]) -> None:
    shutil.copy(REQUIREMENTS.parent / "Makefile", setup.folder)
    (setup.folder / "pyproject.toml").touch()
    setup.lock("gpu", wheel(index[0] / "simple" / "enginegpu", "enginegpu", "1.0"))

    def make(*arguments: str) -> int:
        command = ["make", "--silent", *arguments]
        return subprocess.run(command, cwd=setup.folder, env=setup.environment).returncode

    assert make("setup", "DEVICE=gpu") == 0
    assert make("--question", "setup") == 0
    assert make("--question", "setup", "DEVICE=cpu") == 1
    assert make("setup", "DEVICE=tpu") == 2
    assert "enginegpu" in setup.installed()


def test_a_folder_of_somebody_elses_is_left_alone(setup: Setup) -> None:
    (setup.folder / "mine").mkdir()
    (setup.folder / "mine" / "thesis.tex").touch()
    done = setup.try_("install.sh", "mine")
    assert done.returncode == 1
    assert "error: `mine` is no virtual environment" in done.stderr
    assert (setup.folder / "mine" / "thesis.tex").exists()


@with_uv_and_with_pip
def test_the_index_for_torch_is_the_only_one_asked_for_it(
    setup: Setup, index: tuple[Path, str], uv: str
) -> None:
    folder, url = index
    wheel(folder / "other" / "torch", "torch", "9.9.9+cpu.2", BROKEN)
    wheel(folder / "links", "torch", "9.9.9+cpu.3", BROKEN)
    more = {"PIP_EXTRA_INDEX_URL": f"{url}/other", "PIP_FIND_LINKS": str(folder / "links")}
    setup.run("install.sh", ".venv", UV=uv, **cpu_index(index), **more)
    assert setup.torch() == "9.9.9+cpu"


@pytest.mark.skipif(not UV.exists(), reason="no uv")
@pytest.mark.slow
def test_uv_asks_where_pip_is_configured_to_ask(setup: Setup, index: tuple[Path, str]) -> None:
    """`small` lies in a folder of wheels, `tiny` on an extra index; the files of pip say so."""
    folder, url = index
    lines = [
        wheel(folder / "links", "small", "2.0", ""),
        wheel(folder / "extra" / "tiny", "tiny", "1.0"),
    ]
    setup.lock("cpu", *lines)
    configuration = setup.folder / "pip.conf"
    configuration.write_text(
        f"[global]\nindex-url = {url}/simple\nfind-links =\n  {folder / 'none'}\n"
        f"  {folder / 'links'}\n[install]\nextra-index-url = {url}/extra\n"
    )
    (folder / "none").mkdir()
    environment = {"PIP_CONFIG_FILE": str(configuration), "PIP_INDEX_URL": "", "UV": str(UV)}
    said = setup.run("install.sh", ".venv", **environment)
    assert "pip tries" not in said
    assert {"small", "tiny"} <= setup.installed()


@pytest.mark.slow
def test_without_uv_it_says_why(setup: Setup) -> None:
    setup.lock("uv", "uv==0.1 --hash=sha256:", "0" * 64, "\n")
    setup.lock("cpu", "# nothing\n")
    said = setup.run("install.sh", ".venv", UV="")
    assert "uv cannot be had here (ERROR: No matching distribution found for uv==0.1)" in said


def test_an_old_python_is_refused(setup: Setup, tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = setup.try_("install.sh", "new", PYTHON=str(old))
    assert done.returncode == 1
    assert "is not a Python from 3.11 to 3.13" in done.stderr


@pytest.mark.parametrize(
    ("pretends", "told"),
    [
        ("sys.platform = 'darwin'; platform.platform = lambda: 'macOS-15-arm64'", "macOS-15-arm64"),
        ("sys.platform = 'win32'; platform.platform = lambda: 'Windows-11'", "Windows-11"),
        ("platform.machine = lambda: 'ppc64le'", "ppc64le"),
        ("platform.libc_ver = lambda: ('', '')", "a Linux without glibc"),
    ],
)
@pytest.mark.parametrize("script", ["install.sh", "wheelhouse.sh"])
def test_another_system_is_refused_before_anything_is_made(
    setup: Setup, tmp_path: Path, script: str, pretends: str, told: str
) -> None:
    if "machine" in pretends:
        pretends += f"; platform.platform = lambda: '{told}'"
    python = tmp_path / "python3.12"
    python.write_text(
        f'#!/bin/sh\n[ "$1" != -c ] || exec {sys.executable} -c '
        f'"import platform, sys; {pretends}\n$2"\nexec false\n'
    )
    python.chmod(0o755)
    done = setup.try_(script, "new", PYTHON=str(python))
    assert done.returncode == 1
    assert f"this is {told}: what is locked is for Linux with glibc on x86-64" in done.stderr
    assert "WSL 2" in done.stderr
    assert not (setup.folder / "new").exists()


@with_uv_and_with_pip
def test_a_wheelhouse_needs_no_network(setup: Setup, index: tuple[Path, str], uv: str) -> None:
    """Made where there is an index, used in a network namespace that has nothing."""
    said = setup.run("wheelhouse.sh", "house", **cpu_index(index))
    assert "2 packages of cpu.lock" in said
    done = setup.run("install.sh", ".venv", before=away(), UV=uv, WHEELHOUSE="house")
    assert "no network" in done
    assert setup.torch() == "9.9.9+cpu"
    assert "small" in setup.installed()


@pytest.mark.slow
def test_a_wheelhouse_of_something_else_is_refused(setup: Setup, index: tuple[Path, str]) -> None:
    done = setup.try_("install.sh", ".venv", WHEELHOUSE="nowhere")
    assert done.returncode == 1
    assert "there is no folder `nowhere`" in done.stderr
    assert "make wheelhouse" in done.stderr

    setup.run("wheelhouse.sh", "house", **cpu_index(index))
    setup.lock("cpu", "small==2.0 \\\n    --hash=sha256:", "0" * 64, "\n")
    done = setup.try_("install.sh", ".venv", WHEELHOUSE="house")
    assert done.returncode == 1
    assert "was made for another cpu.lock than this one" in done.stderr

    copy = setup.folder / "house" / "cpu.lock"
    copy.write_text("# for Python 3.9 on linux-vax\n")
    done = setup.try_("install.sh", ".venv", WHEELHOUSE="house")
    assert done.returncode == 1
    assert "is for Python 3.9 on linux-vax, and this is Python 3.1" in done.stderr

    copy.unlink()
    done = setup.try_("install.sh", ".venv", WHEELHOUSE="house")
    assert done.returncode == 1
    assert "has no cpu.lock: it is half-done" in done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere PyPI's torch is a CPU build")
@pytest.mark.slow
def test_a_wheelhouse_has_a_cpu_build_of_torch(setup: Setup, index: tuple[Path, str]) -> None:
    """Found out where there is a network, and not where there is none."""
    done = setup.try_("wheelhouse.sh", "house")
    assert done.returncode == 1
    assert "error: no CPU build of torch could be had from" in done.stderr
    assert "make wheelhouse TORCH_INDEX=URL" in done.stderr
    assert not (setup.folder / "house" / "cpu.lock").exists()

    setup.pytorch(cpu_index(index)["TORCH_INDEX"])
    setup.run("wheelhouse.sh", "house")
    assert [file.name for file in (setup.folder / "house").glob("torch-*")] == [
        "torch-9.9.9+cpu-py3-none-any.whl"
    ]


@pytest.mark.slow
def test_where_no_other_torch_can_be_had_it_says_so(setup: Setup, index: tuple[Path, str]) -> None:
    nowhere = f"{index[1]}/none"
    done = setup.try_("install.sh", ".venv")
    assert done.returncode == 1
    assert "ImportError: libcudart.so.13" in done.stderr
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
    environment = os.environ | {"UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_NO_CACHE_DIR": "1"}
    setup = [*away(), "make", "setup", "WHEELHOUSE=wheelhouse"]
    subprocess.run(setup, cwd=clone, env=environment, check=True)
    help_ = [*away(), clone / ".venv" / "bin" / "adapters", "doctor", "--json"]
    done = subprocess.run(help_, cwd=clone, env=environment, capture_output=True, text=True)
    assert '"name": "build", "level": "ok"' in " ".join(done.stdout.split()), done.stdout


@pytest.mark.parametrize("uv", [pytest.param(str(UV), id="uv"), pytest.param("", id="pip")])
@pytest.mark.slow
def test_an_update_that_fails_leaves_what_works(
    setup: Setup, index: tuple[Path, str], uv: str
) -> None:
    """A lock that changed, and no index that has the new package: twice, and nothing is lost."""
    own = cpu_index(index)
    setup.run("install.sh", ".venv", UV=uv, **own)
    lock = setup.folder / "requirements" / "cpu.lock"
    before = lock.read_text()
    lock.write_text(f"{before}gone==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    for _ in range(2):
        done = setup.try_("install.sh", ".venv", UV=uv, **own)
        assert done.returncode == 1
        assert "making it anew" not in done.stdout
        assert setup.torch() == "9.9.9+cpu"
    lock.write_text(before)
    assert "making it anew" not in setup.run("install.sh", ".venv", UV=uv, **own)
