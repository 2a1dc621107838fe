"""Names of what is on its way: those that we write, and no others."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import pytest

from adapterworks.registry.releases.staged import is_staged

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "name",
    [
        uuid.UUID(int=0x5EED << 96).hex,
        DIGEST,
        f"{DIGEST}.lock",
        f"a-token.of-mine-{DIGEST}",
        f"a-{DIGEST}.lock",
    ],
)
def test_what_we_write(name: str) -> None:
    assert is_staged(Path("/data/tmp") / name)


@pytest.mark.parametrize("prefix", ["upload-", "batch-", "proof-", None])
def test_what_tempfile_calls_for_us(prefix: str | None, tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(prefix=prefix, dir=tmp_path) as file:
        assert is_staged(Path(file.name))


@pytest.mark.parametrize("name", ["my-project", "thesis.txt", "tmp", "uploads", f"{DIGEST}.txt"])
def test_what_is_somebodys(name: str) -> None:
    assert not is_staged(Path("/data/tmp") / name)
