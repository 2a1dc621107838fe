"""A bench of trainings by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.builders.training import prepare
from tests.builders.training.bench import Bench


@pytest.fixture
def another_precision() -> Iterator[None]:
    """`accelerate` has one precision a process, and holds on to the first."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def bench(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tiny, tmp_path)
    monkeypatch.setattr(prepare, "build_model", made.model)
    return made
