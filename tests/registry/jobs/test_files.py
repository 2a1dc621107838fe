"""Files and what goes with them: both, or neither."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from adapterworks.registry.jobs.files import Files, NewFile
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.registry import Registry


def new(folder: Path, text: str) -> NewFile:
    path = folder / f"{text}.txt"
    path.write_text(text)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return NewFile("t", "fine-tune-results", path.name, path, digest, len(text))


def test_files_of_what_did_not_happen_are_not_there(tmp_path: Path) -> None:
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    ) as registry:
        files = Files(registry)
        news = [new(tmp_path, "curve"), new(tmp_path, "errors")]

        def lost(connection: Connection, ids: Sequence[str]) -> None:
            assert len(set(ids)) == 2
            raise Lost("somebody else has the job")

        with pytest.raises(Lost):
            files.put_with(news, lost)
        assert files.listed("t") == ([], False)
        gone = registry.upkeep.gc(grace=0.0, unlisted=True).blobs
        assert {blob.digest for blob in gone} > {one.blob for one in news}  # and their deposits
        ids = files.put_with(news, lambda connection, ids: ids)
        assert [file.id for file in files.listed("t", newest_first=False)[0]] == list(ids)
