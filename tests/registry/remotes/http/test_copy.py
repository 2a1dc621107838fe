"""A registry behind a server is a place of `adapters cp`: from it, to it, after being cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.remotes.arriving import arrive
from adapterworks.registry.remotes.http import blobs
from adapterworks.registry.remotes.own import OwnRelease
from tests.gateway.registry_http.conftest import open_at
from tests.registry.imports.hostile.good import RANK, TARGETS, write_adapter
from tests.registry.keys import make_key
from tests.registry.releases import draft
from tests.registry.remotes.http.conftest import Server, served_at

CHUNK = 100
POINTS, PIECE = 20, 50


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Server]:
    """A server of a registry that is empty."""
    with open_at(tmp_path / "there") as registry, served_at(registry, tmp_path / "home") as server:
        yield server


def fill(registry: Registry, place: Path) -> str:
    """Publish `medical@1`; returns its digest."""
    for role in ("adapter", "servable"):
        write_adapter(place / role)
    (place / "README.md").write_text("# medical\n")
    servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
    return registry.publish(place, draft(servable=servable), who="tester").digest


def copy(source: Registry, target: Registry, scratch: Path) -> str:
    """`adapters cp`'s way between two registries."""
    held = OwnRelease(source, source.resolve("medical@1"))
    came = arrive(target, held, who="bob", scratch=scratch, find_base=lambda _: None,
                  name="medical")  # fmt: skip
    return came.published.digest


def test_to_a_server_and_back_it_is_the_same_release_with_its_signature(
    there: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_key(tmp_path, "release")
    with open_at(tmp_path / "ours") as ours:
        digest = fill(ours, tmp_path / "files")
        ours.signatures.sign(digest, private, who="ann")
    settings = tmp_path / "ours.toml"
    settings.write_text(
        f'home = "{tmp_path / "ours" / "home"}"\nblobs = "{tmp_path / "ours" / "blobs"}"\n'
        f'database = "sqlite:///{tmp_path / "ours" / "index.db"}"\n'
    )
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "third"))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", there.offered.tokens[Role.PUBLISHER])
    place = f"{there.url}#medical"
    steps = (
        (f"registry:{settings}#medical@1", place, "copied", f"{place}@1"),
        (f"registry:{settings}#medical@1", place, "already there:", f"{place}@1"),
        (f"{place}@1", "medical", "copied", "medical@1"),
    )
    for source, target, said, at in steps:
        done = CliRunner().invoke(cli, ["cp", source, target], catch_exceptions=False)
        assert done.stdout.splitlines()[-1] == f"{said} {digest} at {at}"
    assert there.registry.signatures.require(digest, [public])
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'third' / 'index.db'}",
        blobs=str(tmp_path / "third" / "blobs"),
        home=tmp_path / "third",
    ) as third:
        assert third.signatures.require(digest, [public])
        (event,) = [e for e in third.log.events("medical", facts=True) if e.kind == "pull"]
        assert event.data["endpoint"] == there.url


def test_a_token_is_not_shown_to_another_server(
    there: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "third"))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("ADAPTERS_REGISTRY", "https://registry.example")
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", "awr-secret")
    with pytest.raises(InvalidInput, match="is not shown to") as refused:
        CliRunner().invoke(cli, ["cp", f"{there.url}#medical@1", "a"], standalone_mode=False,
                           catch_exceptions=False)  # fmt: skip
    assert "registry_token" in (refused.value.hint or "")
    assert there.asked == []
    # A login is each server's own: without a token of the settings' there is nothing to mix up.
    monkeypatch.delenv("ADAPTERS_REGISTRY_TOKEN")
    with pytest.raises(Refused):
        CliRunner().invoke(cli, ["cp", f"{there.url}#medical@1", "medical"], catch_exceptions=False)


class Killed(Exception):
    """The process ended here."""


def until_done(move: Callable[[], str], most: int) -> tuple[str, int]:
    """What a move gives, and how often it was begun."""
    for turn in range(1, most + 1):
        try:
            return move(), turn
        except Killed:
            continue
    raise AssertionError("it never ended")


def test_what_is_fetched_is_fetched_once_wherever_it_was_killed(
    there: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = fill(there.registry, tmp_path / "files")
    whole = sum({e.digest: e.size for e in there.registry.release(digest).files.values()}.values())
    remote = there.remote(Role.READER)
    remote.release(digest)  # fetched once a process, and not counted
    stream, came, kill_at = remote.link.stream, 0, None

    def watched(path: str, start: int) -> Iterator[bytes]:
        nonlocal came, kill_at
        for chunk in stream(path, start):
            for at in range(0, len(chunk), PIECE):
                if kill_at is not None and came >= kill_at:
                    kill_at = None
                    raise Killed
                piece = chunk[at : at + PIECE]
                came += len(piece)
                yield piece

    monkeypatch.setattr(remote.link, "stream", watched)
    for point in range(POINTS):
        came, kill_at = 0, whole * point // POINTS
        scratch = tmp_path / f"scratch-{point}"
        with open_at(tmp_path / f"here-{point}") as here:
            done = until_done(lambda h=here, s=scratch: copy(remote, h, s), 2)  # type: ignore[misc]
        assert (done, came) == ((digest, 2), whole), f"killed after {whole * point // POINTS} bytes"


def test_what_is_sent_is_sent_once_wherever_it_was_killed(
    there: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each part, and after the server had it but nobody read its answer."""
    monkeypatch.setattr(blobs, "PART", CHUNK)
    remote = there.remote(Role.PUBLISHER)
    put, asked = remote.link.put, 0

    def watched(path: str, data: bytes, headers: Mapping[str, str]) -> dict[str, object]:
        nonlocal asked
        asked += 1
        if asked % 3 == 1:
            raise Killed
        told = put(path, data, headers)
        if asked % 3 == 2:
            raise Killed
        return told

    monkeypatch.setattr(remote.link, "put", watched)
    with open_at(tmp_path / "ours") as ours:
        digest = fill(ours, tmp_path / "files")
        sizes = {e.digest: e.size for e in ours.release(digest).files.values()}
        done, turns = until_done(lambda: copy(ours, remote, tmp_path / "scratch"), 200)
    assert turns > POINTS
    assert (done, there.received) == (digest, sum(sizes.values()))
    assert there.registry.resolve("medical@1").digest == digest
