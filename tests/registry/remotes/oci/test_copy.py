"""One copy between any two places: what leaves, what comes, what is said of where it was."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.arriving import arrive
from adapterworks.registry.remotes.delivering import Delivered, copy
from adapterworks.registry.remotes.held import Held
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.held import HubRelease
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.push import HubRepository
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.held import OciRelease
from adapterworks.registry.remotes.oci.names import parse_oci
from adapterworks.registry.remotes.oci.push import OciRepository
from adapterworks.registry.remotes.own import OwnRelease
from tests.forked import adapters
from tests.registry.keys import make_key
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub
from tests.registry.remotes.oci.conftest import ROWS
from tests.registry.remotes.oci.moves import pulled, pushed
from tests.registry.remotes.oci.standin import OciStandin


def to_oci(
    held: Held, host: str, scratch: Path, *, private: bool = False, include: Sequence[str] = ()
) -> Delivered:
    with Client(parse_oci(f"oci://{host}/org/medical"), push=True) as client:
        destination = OciRepository(client, scratch)
        return copy(held, destination, scratch=scratch, tag="v1", private=private, include=include)


def to_hub(held: Held, hub: MemoryHub, scratch: Path, include: Sequence[str] = ()) -> Delivered:
    destination = HubRepository(cast(Hub, hub), REPOSITORY, scratch)
    return copy(held, destination, scratch=scratch, tag="v1", include=include)


def at_hub(hub: MemoryHub, scratch: Path) -> HubRelease:
    return HubRelease(cast(Hub, hub), hub.state(HubSource(REPOSITORY, "v1")), scratch)


def test_round_by_hub_and_oci_registry_it_is_the_same_release_with_its_signature(
    ours: Registry, theirs: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path, "release")
    release = ours.resolve("medical@1")
    ours.signatures.sign(release.digest, private, who="ann")
    hub, scratch = MemoryHub(), tmp_path / "scratch"
    first = to_hub(OwnRelease(ours, release), hub, scratch)
    assert (first.created, set(first.absent)) == (True, {ROWS})
    second = to_oci(at_hub(hub, scratch), oci.host, scratch)
    assert (second.created, set(second.absent)) == (True, {ROWS})
    assert not to_oci(at_hub(hub, scratch), oci.host, scratch).created
    came = pulled(theirs, f"oci://{oci.host}/org/medical:v1")
    assert (came.published.digest, came.withheld) == (release.digest, (ROWS,))
    assert theirs.signatures.require(release.digest, [public])
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_a_copy_that_has_no_room_on_its_way_is_refused(
    ours: Registry, oci: OciStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ours.resolve("medical@1")
    files = ours.release(release.digest).files.values()
    room = SimpleNamespace(free=sum({e.digest: e.size for e in files}.values()) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(Refused, match="are free where"):
        to_oci(OwnRelease(ours, release), oci.host, tmp_path / "scratch")
    assert oci.manifests == {}
    room.free += 1
    to_oci(OwnRelease(ours, release), oci.host, tmp_path / "scratch")


def test_what_was_let_out_once_is_not_let_out_again(
    ours: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    pushed(ours, oci.host, include=(ROWS,))
    name, hub = parse_oci(f"oci://{oci.host}/org/medical:v1"), MemoryHub()
    with Client(name) as client:
        held = OciRelease(client, name, tmp_path)
        assert held.size(held.release.files[ROWS].digest) == 3
        assert set(to_hub(held, hub, tmp_path).absent) == {ROWS}
        assert ROWS not in hub.files()
        hub.repositories.clear()
        assert set(to_hub(held, hub, tmp_path, include=(ROWS,)).absent) == set()


def test_a_public_place_is_refused_to_a_copy_too(
    ours: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    held = OwnRelease(ours, ours.resolve("medical@1"))
    with pytest.raises(Refused, match="is public"):
        to_oci(held, oci.host, tmp_path, private=True)
    assert oci.manifests == {}


def test_between_own_registries_all_goes_but_what_the_record_keeps(
    ours: Registry, theirs: Registry, tmp_path: Path
) -> None:
    for withhold in ((ROWS,), ()):
        first = ours.release(ours.resolve("medical@1").digest)
        made = first.to_draft(withhold=withhold, description=str(withhold))
        ours.publish(tmp_path / "release", made, who="ann")
        newest = ours.versions("medical")[0]
        held = OwnRelease(ours, ours.resolve(f"medical@{newest.version}"))
        came = arrive(
            theirs,
            held,
            who="bob",
            scratch=tmp_path / "scratch",
            find_base=lambda _: None,
            name="medical",
        )
        assert came.published.digest == newest.digest
        assert came.withheld == withhold
        for path in withhold:
            why = theirs.absences(newest.digest)[path].why
            assert why.startswith("not sent by registry:")
            assert str(tmp_path) not in why


def test_a_copy_without_a_tag_is_told_to_name_one(
    ours: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    held = OwnRelease(ours, ours.resolve("medical@1"))
    with (
        Client(parse_oci(f"oci://{oci.host}/org/medical"), push=True) as client,
        pytest.raises(InvalidInput, match="says no version"),
    ):
        copy(held, OciRepository(client, tmp_path), scratch=tmp_path, tag=None)


def test_the_command_copies_from_home_to_home_and_to_a_registry_and_back(
    ours: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    digest = ours.resolve("medical@1").digest
    production, here = tmp_path / "production.toml", tmp_path / "here.toml"
    here.write_text(
        f'home = "{ours.home}"\nblobs = "{tmp_path / "blobs"}"\n'
        f'database = "sqlite:///{tmp_path / "index.db"}"\n'
    )
    production.write_text(
        f'home = "{tmp_path / "p"}"\nblobs = "{tmp_path / "store"}"\nuser = "ann"\n'
    )
    place = f"oci://{oci.host}/org/medical"
    steps = (
        (f"registry:{here}#medical@1", f"registry:{production}#medical", "copied"),
        (f"registry:{production}#medical@1", place, "copied"),
        (f"{place}:v1", "triage", "copied"),
        (f"registry:{here}#medical@1", f"registry:{production}#medical", "already there:"),
    )
    environ = {"ADAPTERS_HOME": str(tmp_path / "third"), "PATH": "/usr/bin:/bin",
               "DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path)}  # fmt: skip
    for source, target, said in steps:
        public = ["--public"] if target == place else []
        done = adapters(["cp", source, target, *public], env=environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{said} {digest} at "), done.stdout
    wrong = adapters(["cp", "registry:/nowhere#a@1", "b"], env=environ)
    assert (wrong.returncode, "neither a registry's home nor" in wrong.stderr) == (2, True)
