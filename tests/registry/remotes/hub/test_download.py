"""A downloaded file has the size that the Hub listed, and no more than was allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.remotes.hub.client import Hub, RepoState

STATE = RepoState("org/a", "c" * 40, False, {"weights": 10})


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the Hub sends next."""
    waiting: list[bytes] = []

    def download(repository: str, path: str, *, revision: str, local_dir: Path, **_: Any) -> str:
        assert (repository, revision) == (STATE.repository, STATE.commit)
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / path).write_bytes(waiting.pop())
        return str(local_dir / path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return waiting


def test_a_file_of_the_listed_size_comes(tmp_path: Path, sends: list[bytes]) -> None:
    sends.append(b"x" * 10)
    assert Hub().download(STATE, "weights", tmp_path, limit=10).read_bytes() == b"x" * 10


@pytest.mark.parametrize("size", [9, 11, 0])
def test_a_file_of_another_size_is_refused(tmp_path: Path, sends: list[bytes], size: int) -> None:
    sends.append(b"x" * size)
    with pytest.raises(IntegrityError, match=f"came with {size} bytes, the listing says 10"):
        Hub().download(STATE, "weights", tmp_path, limit=10)


def test_a_file_above_the_limit_is_not_fetched(tmp_path: Path, sends: list[bytes]) -> None:
    with pytest.raises(IntegrityError, match="has 10 bytes, 9 are the limit"):
        Hub().download(STATE, "weights", tmp_path, limit=9)
