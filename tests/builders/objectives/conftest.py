"""A distribution of somebody else's, whose objectives are found by entry points."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.manifests import extensions


@pytest.fixture
def acme(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Installs it for this process and those it starts."""
    site = tmp_path_factory.mktemp("site")
    info = site / "acme_preferences-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-preferences\nVersion: 1.2")
    (info / "entry_points.txt").write_text(
        "[adapterworks.objectives]\n"
        "acme-dpo = acme_preferences:OBJECTIVE\n"
        "acme-miscounting = acme_preferences:MISCOUNTING\n"
    )
    shutil.copy(Path(__file__).with_name("acme_preferences.py"), site)
    monkeypatch.syspath_prepend(site)
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *([path] if path else [])]))
    extensions.forget()
    yield site
    extensions.forget()
    sys.modules.pop("acme_preferences", None)
