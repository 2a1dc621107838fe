"""Fixtures every area shares: a settled environment and the real base model, prepared once.

Bases are content-addressed and slow to prepare (30 s), so they are kept in `.cache/bases` between
runs; everything else of a test lives in its own temporary ADAPTERS_HOME.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapterworks.registry.bases.store import Base, BaseStore

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

BASES = Path(__file__).resolve().parent.parent / ".cache" / "bases"
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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh ADAPTERS_HOME, with the shared bases, for this test's process and its children."""
    folder = tmp_path / "home"
    for name in ("ADAPTERS_DATABASE", "ADAPTERS_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ADAPTERS_HOME", str(folder))
    monkeypatch.setenv("ADAPTERS_BASES", str(BASES))
    monkeypatch.setenv("ADAPTERS_USER", "tester")
    return folder


# Fixtures that hold a real engine for the session: what uses one of them runs in one process.
_ENGINE = frozenset({"engine", "gateway", "either", "vllm_cpu"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread files over the processes of `-n`, and all tests of the session's engine over one."""
    for item in items:
        names = frozenset(getattr(item, "fixturenames", ()))
        group = "engine" if names & _ENGINE else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
