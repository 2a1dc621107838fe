"""A bench of trainings by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.training import loop
from tests.builders.training.bench import Bench


@pytest.fixture
def bench(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tiny, tmp_path)
    monkeypatch.setattr(loop, "build_model", made.model)
    return made
