"""`adapters cp` to and from PostgreSQL and S3: the same release, and nothing is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from adapterworks.registry.blobs import s3
from adapterworks.registry.blobs.store import key_of
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.remotes.arriving import arrive
from adapterworks.registry.remotes.own import OwnRelease
from tests.forked import adapters
from tests.postgres import new_database
from tests.registry.imports.hostile.good import RANK, TARGETS, write_adapter
from tests.registry.releases import draft
from tests.registry.s3_servers import S3Server


class Killed(Exception):
    """The process ended here."""


class Counted:
    """The S3 client, which ends the process after each object that it has sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(obstore, name)

    def put(self, client: Any, key: str, data: Any, **options: Any) -> None:
        """Send, and end."""
        obstore.put(client, key, data, **options)
        self.sent.append(key)
        raise Killed


@pytest.fixture
def ours(local_registry: Registry, tmp_path: Path) -> Registry:
    """A registry with `medical@1`."""
    files = tmp_path / "release"
    for role in ("adapter", "servable"):
        write_adapter(files / role)
    (files / "README.md").write_text("# medical\n")
    (files / "report.json").write_text("{}\n")
    servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
    local_registry.publish(files, draft(servable=servable), who="tester")
    return local_registry


@pytest.fixture
def production(
    postgres_server: str, nanio_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The settings file of a registry in PostgreSQL and S3."""
    nanio_server.use(monkeypatch)
    settings = tmp_path / "production.toml"
    settings.write_text(
        f'home = "{tmp_path / "production"}"\ndatabase = "{new_database(postgres_server)}"\n'
        f'blobs = "s3://{nanio_server.new_bucket()}/releases"\n'
    )
    return settings


def open_at(settings: Path) -> Registry:
    """The registry of a settings file."""
    import tomllib

    told = tomllib.loads(settings.read_text())
    return Registry.open(
        database=told["database"], blobs=told["blobs"], home=Path(told["home"]), author="ann"
    )


def test_the_command_copies_there_and_back(
    ours: Registry, production: Path, nanio_server: S3Server, tmp_path: Path
) -> None:
    digest = ours.resolve("medical@1").digest
    here = tmp_path / "here.toml"
    here.write_text(
        f'home = "{ours.home}"\nblobs = "{tmp_path / "blobs"}"\n'
        f'database = "sqlite:///{tmp_path / "index.db"}"\n'
    )
    environ = {"ADAPTERS_HOME": str(tmp_path / "third"), "PATH": "/usr/bin:/bin",
               "HOME": str(tmp_path), **nanio_server.environment()}  # fmt: skip
    for source, target in (
        (f"registry:{here}#medical@1", f"registry:{production}#medical"),
        (f"registry:{production}#medical@1", "medical"),
    ):
        done = adapters(["cp", source, target], env=environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"copied {digest} at "), done.stdout


def test_a_copy_that_is_killed_at_each_file_sends_each_once(
    ours: Registry, production: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = OwnRelease(ours, ours.resolve("medical@1"))
    scratch = tmp_path / "scratch"
    with open_at(production) as theirs:
        counted = Counted()
        monkeypatch.setattr(s3, "obs", counted)
        turns = 0
        while turns < 50:
            turns += 1
            try:
                came = arrive(theirs, held, who="bob", scratch=scratch,
                              find_base=lambda _: None, name="medical")  # fmt: skip
            except Killed:
                continue
            break
        assert came.published.digest == held.release.digest
        assert len(counted.sent) == len(set(counted.sent)) == turns - 1
        files = {entry.digest for entry in held.release.files.values()}
        assert {key_of(digest) for digest in files} <= set(counted.sent)
        assert theirs.read(held.release.digest, "README.md") == b"# medical\n"
