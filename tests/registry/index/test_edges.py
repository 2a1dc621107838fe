"""What an operator's disk and accounts do to an index, said in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish

READ = """
import os, sys
from pathlib import Path
from adapterworks.manifests.errors import Refused
from adapterworks.registry.registry import Registry
root = Path(sys.argv[1])
url = f"sqlite:///{root / 'index.db'}"

def look():
    with Registry.open(database=url, blobs=str(root / "blobs"), home=root / "home") as registry:
        assert registry.resolve("medical").version == 1
        assert registry.search("icd")
        assert registry.upkeep.verify().clean
        try:
            registry.promote("medical", 1, "candidate", who="eve")
        except Refused as error:
            print(error.message)

look()  # imports everything, which the other account may not be able to
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
look()
"""


def test_who_may_only_read_reads_at_once_and_is_told(tmp_path: Path) -> None:
    """It waited a minute for a lock that nobody held."""
    if os.getuid() != 0:
        pytest.skip("needs an account to become")
    root = Path("/tmp") / f"adapters-read-{os.getpid()}"
    root.mkdir(mode=0o755)
    try:
        url = f"sqlite:///{root / 'index.db'}"
        with Registry.open(database=url, blobs=str(root / "blobs"), home=root / "home") as registry:
            publish(registry, tmp_path, 1, alias="prod")
        done = subprocess.run(
            [sys.executable, "-c", READ, str(root)], capture_output=True, text=True, timeout=50
        )
        assert done.returncode == 0, done.stderr
        assert "can only be read by this user" in done.stdout
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)


def test_a_file_that_is_no_index_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"not a database" * 100)
    with pytest.raises(IntegrityError, match="is no index, or damaged") as error:
        Registry.open(
            database=f"sqlite:///{tmp_path / 'index.db'}",
            blobs=str(tmp_path / "blobs"),
            home=tmp_path / "home",
        )
    assert "adapters registry restore" in (error.value.hint or "")


def test_postgres_is_postgresql() -> None:
    assert Database("postgres://ann@db/x").engine.dialect.name == "postgresql"
    with pytest.raises(InvalidInput, match="`mysql` databases are not supported"):
        Database("mysql://ann@db/x")


def test_letters_have_no_case_in_words_and_tags_have(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, description="Élan der Ärzte", tags=("Icd", "医疗"))
    for text in ("élan", "ÄRZTE", "icd", "医疗"):
        assert len(registry.search(text)) == 1, text
    assert [len(registry.search(tag=tag)) for tag in ("Icd", "icd", "医疗", "Ic")] == [1, 0, 1, 0]


def test_a_log_of_what_never_was_is_not_an_empty_one(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    with pytest.raises(NotFound, match="no alias `typo`"):
        registry.log.events("medical", alias="typo")
    with pytest.raises(NotFound, match="no version `medical@7`"):
        registry.log.events("medical", version=7)
    registry.retire("medical", "prod", who="ann")
    assert [event.kind for event in registry.log.events("medical", alias="prod")] == [
        "retire",
        "promote",
    ]


def test_bytes_that_are_damaged_are_put_anew(local_registry: Registry, tmp_path: Path) -> None:
    """An empty file under a digest was "there", and the new version corrupt at birth."""
    first = publish(local_registry, tmp_path, 1)
    weights = local_registry.release(first.digest).files["adapter/adapter_model.safetensors"].digest
    assert isinstance(local_registry.blobs, LocalBlobs)
    path = local_registry.blobs.path(weights)
    path.chmod(0o644)
    path.write_bytes(b"")
    publish(local_registry, tmp_path, 1, created_by="somebody else")
    assert local_registry.upkeep.verify().clean


def test_a_folder_that_cannot_be_listed_is_not_left_out(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapterworks.registry.lifecycle.publish import scan
    from tests.registry.releases import folder

    files = folder(tmp_path / "r")
    (files / "secret").mkdir()
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(InvalidInput, match="secret` cannot be read: Permission denied"):
        scan(files)


def test_a_reader_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for whoever runs these tests without an account to become."""
    url = f"sqlite:///{tmp_path / 'index.db'}"
    blobs, home = str(tmp_path / "blobs"), tmp_path / "home"
    with Registry.open(database=url, blobs=blobs, home=home) as registry:
        publish(registry, tmp_path, 1, alias="prod")
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with Registry.open(database=url, blobs=blobs, home=home) as registry:
        assert registry.resolve("medical").version == 1
        with pytest.raises(Refused, match="can only be read by this user"):
            registry.promote("medical", 1, "candidate", who="eve")


def test_a_word_that_no_database_keeps_is_refused_and_nothing_else_is_done(
    registry: Registry, tmp_path: Path
) -> None:
    """A terminal that is not set to UTF-8 gives half characters."""
    publish(registry, tmp_path)
    with pytest.raises(InvalidInput, match="cannot keep that value"):
        registry.promote("medical", 1, "prod", who="ann", why="caf\udce9")
    assert registry.history("medical") == []
    registry.promote("medical", 1, "prod", who="ann", why="café")
