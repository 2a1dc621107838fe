"""Fixtures every area shares: a settled environment and the real base model, prepared once.

Bases are content-addressed and slow to prepare (30 s), so they are kept in `.cache/bases` between
runs; everything else of a test lives in its own temporary ADAPTERS_HOME. Nothing that whoever runs
the suite has configured counts in it, in variables or in a file (`bench/apart.py`).
"""

from __future__ import annotations

import gc
import os
import shutil
import ssl
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from bench.apart import BASES, settle

# The home of what asks for none: made only if something is written there.
NOBODYS = Path(tempfile.gettempdir()) / f"adapterworks-tests-{os.getpid()}"
settle(NOBODYS, bases=None)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test trusts a public authority: each HTTP client would read all of their certificates (21 ms).
# The folder of the system's own is looked into only when somebody's certificate is to be checked.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = ssl.get_default_verify_paths().openssl_capath
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each of several processes computes with one thread: two with two each wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is imported and collected stays to the end: it is not looked through for garbage, neither now
# nor again and again while the tests run (`pytest_collection_finish`).
gc.disable()

# Examples have no clock: beside other work the same one takes ten times as long.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def bases() -> BaseStore:
    """The store of prepared bases that all tests share."""
    return BaseStore(BASES)


@pytest.fixture(scope="session")
def base(bases: BaseStore) -> Base:
    """SmolLM2-135M-Instruct as published (dense float32)."""
    return bases.ensure(MODEL)


@pytest.fixture(scope="session")
def nf4_base(bases: BaseStore) -> Base:
    """SmolLM2-135M-Instruct quantized to NF4."""
    return bases.ensure(MODEL, quantization="nf4")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bases: BaseStore) -> Path:
    """A fresh ADAPTERS_HOME, with the shared bases, for this test's process and its children."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ADAPTERS_HOME", str(folder))
    monkeypatch.setenv("ADAPTERS_BASES", str(bases.root))
    monkeypatch.setenv("ADAPTERS_USER", "tester")
    return folder


# What is started once a session, so that what uses it runs in one process: the gateway's tests'
# real engine, and vLLM's layers without one. Everything else is spread by files.
_GROUPS = {"engine": "engine", "gateway": "engine", "either": "engine", "vllm_cpu": "layers"}
# What takes a minute and more begins first, so that no process is left alone with it at the end.
_LONG = (
    "engine",
    "cli/test_readme.py",
    "docs/test_pages.py",
    "upgrade/test_upgrade.py",
    "gateway/engine_plugin/test_engine.py",
    "engines/test_vllm.py",
)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what must run in one process of several, and put the long first."""
    ranks = {}
    for item in items:
        group = item.path.relative_to(Path(__file__).parent).as_posix()
        for name in getattr(item, "fixturenames", ()):
            group = _GROUPS.get(name, group)
        item.add_marker(pytest.mark.xdist_group(group))
        ranks[item] = _LONG.index(group) if group in _LONG else len(_LONG)
    items.sort(key=ranks.__getitem__)


def pytest_unconfigure() -> None:
    """Leave no home behind that nobody asked for."""
    shutil.rmtree(NOBODYS, ignore_errors=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups that pytest-xdist lost would start every engine twice and say nothing.

    Raises:
        pytest.UsageError: this pytest and this pytest-xdist do not go together.
    """
    gc.freeze()
    gc.enable()
    if session.config.getoption("loadgroup", False):
        lost = [item.nodeid for item in session.items if "@" not in item.nodeid]
        if lost:
            raise pytest.UsageError(f"pytest-xdist does not see the group of {lost[0]}")
