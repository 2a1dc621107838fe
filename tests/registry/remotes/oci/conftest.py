"""Two registries of releases, and an OCI registry between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from tests.registry.imports.hostile.good import RANK, TARGETS, write_adapter
from tests.registry.releases import draft
from tests.registry.remotes.oci.standin import OciStandin

ROWS = "predictions.jsonl"


@pytest.fixture
def oci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OciStandin]:
    """A registry that knows referrers and asks nobody who they are; nobody logged in anywhere."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with OciStandin() as standin:
        yield standin


@pytest.fixture
def ours(local_registry: Registry, tmp_path: Path) -> Registry:
    """A registry with `medical@1`, which has rows, an SBOM and a provenance."""
    files = tmp_path / "release"
    for role in ("adapter", "servable"):
        write_adapter(files / role)
    (files / "README.md").write_text("# medical\n")
    (files / ROWS).write_bytes(b"{}\n")
    (files / "sbom.cdx.json").write_bytes(b'{"bomFormat":"CycloneDX"}')
    (files / "provenance.json").write_bytes(b'{"_type":"https://in-toto.io/Statement/v1"}')
    servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
    local_registry.publish(files, draft(servable=servable), who="tester")
    return local_registry


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Registry]:
    """Another machine's registry, which is empty."""
    home = tmp_path / "theirs"
    opened = Registry.open(
        database=f"sqlite:///{tmp_path / 'theirs.db'}", blobs=str(home / "blobs"), home=home
    )
    yield opened
    opened.close()
