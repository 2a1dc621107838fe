"""A tiny base that trains in seconds, and what a training needs around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.build_support import TinyJob, make_tiny_base, tiny_job
from tests.builders.workshop import Workshop


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with grouped heads and a tokenizer of its own."""
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Callable[..., TinyJob]:
    """Makes a planned training of a method on the tiny base."""

    def make(kind: str, name: str = "job", **changes: object) -> TinyJob:
        return tiny_job(tiny, tmp_path / name, kind, **changes)

    return make


@pytest.fixture
def workshop(tmp_path: Path, tiny: Path) -> Workshop:
    """A manifest, its rows and a home, on the tiny base."""
    return Workshop(tmp_path, tiny)
