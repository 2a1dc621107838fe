"""A distribution of somebody else's, whose objectives are found by entry points."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.manifests import entry_points
from tests.distribution import write_distribution


@pytest.fixture
def acme(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Installs it for this process and those it starts."""
    module = "acme_preferences"
    names = {"acme-dpo": f"{module}:OBJECTIVE", "acme-miscounting": f"{module}:MISCOUNTING"}
    site = write_distribution(
        tmp_path_factory.mktemp("site"),
        "acme-preferences",
        "1.2",
        {"objectives": names},
        {f"{module}.py": Path(__file__).with_name(f"{module}.py").read_text()},
    )
    monkeypatch.syspath_prepend(site)
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *([path] if path else [])]))
    entry_points.forget()
    yield site
    entry_points.forget()
    sys.modules.pop(module, None)
