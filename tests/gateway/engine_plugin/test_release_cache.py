"""What an engine's host fetches: verified, bounded, kept while it is held, safe against a kill."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapterworks.gateway.engine_plugin.release_cache import ABANDONED_S, NoRoom, ReleaseCache
from adapterworks.gateway.engine_plugin.release_locks import ReleaseLocks
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Unavailable
from adapterworks.registry.blobs.store import key_of
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish

# Of one release's served form: `weights N` fifty times, and its configuration.
SIZE = 50 * len("weights 1") + len('{"r": 8}')


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with at(tmp_path, "gateway") as opened:
        yield opened


def at(place: Path, host: str) -> Registry:
    """The one registry, as a host of its own has it."""
    return Registry.open(
        database=f"sqlite:///{place / 'index.db'}", blobs=str(place / "blobs"), home=place / host
    )


Make = Callable[..., ReleaseCache]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Make]:
    made: list[ReleaseCache] = []

    def make(most: int | None = None) -> ReleaseCache:
        made.append(ReleaseCache(lambda: at(tmp_path, "engine"), most))
        return made[-1]

    yield make
    for one in made:
        for digest in one.held:
            one.let_go(digest)
        one.close()


def here(place: Path) -> set[str]:
    """The releases on the engine's host."""
    found = (place / "engine" / "checkouts").glob("*/servable")
    return {f"sha256:{folder.parent.name}" for folder in found}


def publish_some(registry: Registry, place: Path, count: int) -> list[str]:
    return [publish(registry, place, number).digest for number in range(1, count + 1)]


def test_a_release_comes_by_its_digest(registry: Registry, tmp_path: Path, cache: Make) -> None:
    (digest,) = publish_some(registry, tmp_path, 1)
    release, folder = cache().fetch(digest)
    assert release.digest == digest
    assert folder.is_relative_to(tmp_path / "engine")
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights 1" * 50


@pytest.mark.parametrize("digest", ["../../etc", "sha256:" + "a" * 63, "", "sha256:" + "A" * 64])
def test_what_is_no_digest_makes_no_file(digest: str, tmp_path: Path, cache: Make) -> None:
    with pytest.raises(InvalidInput):
        cache().fetch(digest)
    assert not (tmp_path / "engine").exists()


def test_what_the_registry_has_not_is_not_held(tmp_path: Path, cache: Make) -> None:
    one = cache()
    with pytest.raises(NotFound):
        one.fetch("sha256:" + "a" * 64)
    assert one.held == []


def test_damaged_bytes_are_never_visible(registry: Registry, tmp_path: Path, cache: Make) -> None:
    (digest,) = publish_some(registry, tmp_path, 1)
    blob = registry.release(digest).files["servable/adapter_model.safetensors"].digest
    file = tmp_path / "blobs" / key_of(blob)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError):
        cache().fetch(digest)
    assert here(tmp_path) == set()


def test_what_was_asked_for_longest_ago_makes_room(
    registry: Registry, tmp_path: Path, cache: Make
) -> None:
    first, second, third, fourth = publish_some(registry, tmp_path, 4)
    one = cache(2 * SIZE)
    for digest, asked in ((first, 100), (second, 50)):
        _, folder = one.fetch(digest)
        os.utime(folder, (asked, asked))
        one.let_go(digest)
    one.fetch(third)
    assert here(tmp_path) == {first, third}
    one.fetch(fourth)
    assert here(tmp_path) == {third, fourth}


def test_what_is_held_stays_and_the_next_one_has_no_room(
    registry: Registry, tmp_path: Path, cache: Make
) -> None:
    first, second = publish_some(registry, tmp_path, 2)
    one, other = cache(SIZE), cache(SIZE)
    one.fetch(first)
    for process in (one, other):  # whose engine it is does not matter
        with pytest.raises(NoRoom):
            process.fetch(second)
    assert here(tmp_path) == {first}
    assert other.held == []
    one.fetch(first)  # again: it is there
    one.let_go(first)
    other.fetch(second)
    assert here(tmp_path) == {second}


def test_two_that_come_at_once_do_not_take_the_same_room(
    registry: Registry, tmp_path: Path, cache: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = publish_some(registry, tmp_path, 2)
    one = cache(SIZE)
    begun, go_on = threading.Event(), threading.Event()
    checkout = Registry.checkout

    def slow(self: Registry, digest: str, role: str) -> Path:
        if digest == first:
            begun.set()
            assert go_on.wait(60)
        return checkout(self, digest, role)

    monkeypatch.setattr(Registry, "checkout", slow)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(one.fetch, first)
        assert begun.wait(60)
        try:
            with pytest.raises(NoRoom):
                one.fetch(second)
        finally:
            go_on.set()
        coming.result(60)
    assert here(tmp_path) == {first}


def test_what_has_come_is_not_counted_as_coming(
    registry: Registry, tmp_path: Path, cache: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = publish_some(registry, tmp_path, 2)
    one = cache(2 * SIZE)
    come, go_on = threading.Event(), threading.Event()
    checkout = Registry.checkout

    def slow(self: Registry, digest: str, role: str) -> Path:
        folder = checkout(self, digest, role)
        if digest == first:
            come.set()
            assert go_on.wait(60)
        return folder

    monkeypatch.setattr(Registry, "checkout", slow)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(one.fetch, first)
        assert come.wait(60)
        try:
            one.fetch(second)
        finally:
            go_on.set()
        coming.result(60)
    assert here(tmp_path) == {first, second}


@pytest.mark.parametrize("step", ["release", "checkout"])
def test_a_fetch_that_fails_does_not_end_what_an_earlier_one_holds(
    step: str,
    registry: Registry,
    tmp_path: Path,
    cache: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine has it loaded, and its folder is not to make room."""
    first, second = publish_some(registry, tmp_path, 2)
    one = cache(SIZE)
    one.fetch(first)

    def away(*_: object) -> None:
        raise Unavailable("the registry is away")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, step, away)
        for digest in (first, second):
            with pytest.raises(Unavailable):
                one.fetch(digest)
    assert one.held == [first]
    with pytest.raises(NoRoom):
        one.fetch(second)
    assert here(tmp_path) == {first}


KILLED = """
import sys, threading
from pathlib import Path
from adapterworks.gateway.engine_plugin.release_cache import ReleaseCache
from adapterworks.registry.blobs import local
from tests.gateway.engine_plugin.test_release_cache import at

place, digest = Path(sys.argv[1]), sys.argv[2]
get = local.LocalBlobs.get

def half(self, blob):
    chunks = iter(get(self, blob))
    data = next(chunks)
    yield data
    if b"weights" in data:
        print("half", flush=True)
        threading.Event().wait()
    yield from chunks

local.LocalBlobs.get = half
ReleaseCache(lambda: at(place, "engine"), None).fetch(digest)
"""


def test_who_is_killed_leaves_nothing_that_counts(
    registry: Registry, tmp_path: Path, cache: Make
) -> None:
    (digest,) = publish_some(registry, tmp_path, 1)
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), digest],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        held = ReleaseLocks(tmp_path / "engine" / "checkouts" / "held")
        with held.free(digest) as free:
            assert not free
        process.send_signal(signal.SIGKILL)
    assert here(tmp_path) == set()
    (half,) = (tmp_path / "engine" / "checkouts" / "tmp").iterdir()
    for path in (half, *half.rglob("*")):
        old = path.stat().st_mtime - 2 * ABANDONED_S
        os.utime(path, (old, old))
    mine = half.parent / "my-project"
    mine.mkdir()
    os.utime(mine, (old, old))
    _, folder = cache().fetch(digest)
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights 1" * 50
    assert list((tmp_path / "engine" / "checkouts" / "tmp").iterdir()) == [mine]


def test_a_lock_file_that_is_removed_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = ReleaseLocks(tmp_path), ReleaseLocks(tmp_path)
    one.hold("sha256:aa")
    with other.free("sha256:aa") as free:
        assert not free
    one.let_go("sha256:aa")
    with ThreadPoolExecutor(1) as pool:
        with other.free("sha256:aa") as free:
            assert free
            opened, flock = threading.Event(), fcntl.flock

            def told(file: int, how: int) -> None:
                opened.set()
                flock(file, how)

            monkeypatch.setattr(fcntl, "flock", told)
            waiting = pool.submit(one.hold, "sha256:aa")
            assert opened.wait(60)  # it has the file open that is removed now
            monkeypatch.setattr(fcntl, "flock", flock)
        waiting.result(60)
    with other.free("sha256:aa") as free:
        assert not free
    one.let_go("sha256:aa")
