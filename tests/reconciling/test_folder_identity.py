"""Which folder of manifests it is: the same in every clone, and never another team's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from adapterworks.reconciling.folder_identity import identity, repository


@pytest.mark.parametrize(
    "remote",
    [
        "https://git.bank.internal/risk/kyc.git",
        "https://ci:s3cr3t@git.bank.internal/risk/kyc",
        "git@git.bank.internal:risk/kyc.git",
        "ssh://git@Git.Bank.Internal:2222/risk/kyc.git/",
    ],
)
def test_however_it_was_cloned_it_is_the_same(remote: str) -> None:
    assert repository(remote) == "git.bank.internal/risk/kyc"


def test_a_remote_on_disk_is_its_path() -> None:
    assert repository("/srv/git/kyc.git") == "/srv/git/kyc"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_folders_of_one_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    plain = tmp_path / "plain" / "adapters"
    plain.mkdir(parents=True)
    found = {"plain": identity(plain)}
    for clone, team in (("kyc", "kyc"), ("kyc-of-ci", "kyc"), ("cards", "cards")):
        folder = tmp_path / clone / "models" / "adapters"
        folder.mkdir(parents=True)
        for words in (
            ("init", "-q"),
            ("remote", "add", "origin", f"git@git.bank.internal:{team}.git"),
        ):
            subprocess.run(["git", "-C", str(tmp_path / clone), *words], check=True)
        found[clone] = identity(folder)
    assert found["kyc"] == found["kyc-of-ci"] == "git.bank.internal/kyc:models/adapters"
    assert found["cards"] == "git.bank.internal/cards:models/adapters"
    assert found["plain"].endswith(f":{plain}")
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert identity(tmp_path / "kyc").endswith(f":{tmp_path / 'kyc'}")
