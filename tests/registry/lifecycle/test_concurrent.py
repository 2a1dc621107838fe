"""Many publishers, promoters and a gc at once, in real processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.errors import Conflict
from adapterworks.registry.registry import Registry
from tests.forked import CONTEXT
from tests.registry.releases import draft, folder, publish

TURNS = 15
# After this gc has removed nothing because it does not work.
LATE_S = 300.0


def run(target: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run `target(barrier, *arguments)` in one process each, started together."""
    with CONTEXT.Manager() as manager:
        barrier = manager.Barrier(len(arguments))
        with CONTEXT.Pool(len(arguments)) as pool:
            return pool.starmap(target, [(barrier, *item) for item in arguments], chunksize=1)


@pytest.mark.parametrize(
    ("processes", "each"), [(4, 10), pytest.param(8, 100, marks=pytest.mark.slow)]
)
def test_kubeflow_last_wins_concurrent_publishers_get_contiguous_versions(
    registry: Registry, database_url: str, tmp_path: Path, processes: int, each: int
) -> None:
    where = (database_url, str(tmp_path))
    results = run(_publish_many, [(*where, worker, each) for worker in range(processes)])
    versions = [version for numbers in results for version in numbers]
    assert sorted(versions) == list(range(1, processes * each + 1))
    assert all(numbers == sorted(numbers) for numbers in results)
    assert registry.upkeep.verify().clean


def test_the_same_release_from_many_publishers_is_one_version(
    registry: Registry, database_url: str, tmp_path: Path
) -> None:
    where = (database_url, str(tmp_path))
    results = run(_publish_same, [where for _ in range(4)])
    assert {version for version, _ in results} == {1}
    assert sum(created for _, created in results) == 1
    assert registry.upkeep.verify().clean


def test_mlflow_2169_of_many_compare_and_sets_exactly_one_wins_each_round(
    registry: Registry, database_url: str, tmp_path: Path
) -> None:
    for number in (1, 2, 3, 4):
        publish(registry, tmp_path, number)
    registry.promote("medical", 1, "prod", who="ann")
    where = (database_url, str(tmp_path))
    wins = run(_race, [(*where, version) for version in (2, 3, 4)])
    history = registry.history("medical", "prod")
    assert sum(wins) == len(history) - 1
    assert sum(wins) >= 1
    # Each move names the very move before it: none was lost, none came between.
    assert [move.previous for move in history[1:]] == [move.version for move in history[:-1]]
    assert registry.upkeep.verify().clean


def test_mlflow_17240_gc_never_removes_what_a_concurrent_publish_needs(
    registry: Registry, database_url: str, tmp_path: Path
) -> None:
    """Publishers keep publishing and deleting releases that share blobs; gc has no grace at all."""
    where = (database_url, str(tmp_path))
    removed, *published = run(_churn, [(*where, 0), (*where, 1), (*where, 2)])
    assert removed > 0, "gc had nothing to do: the test shows nothing"
    assert min(published) >= TURNS
    report = registry.upkeep.verify()
    assert report.clean, report.problems
    assert report.releases >= 2


def _open(url: str, root: str) -> Registry:
    return Registry.open(database=url, blobs=f"{root}/blobs", home=Path(root, "home"))


def _publish_many(barrier: Any, url: str, root: str, worker: int, each: int) -> list[int]:
    registry = _open(url, root)
    barrier.wait(120)
    versions = []
    files = folder(Path(root, f"worker-{worker}"), worker)
    for turn in range(each):
        (files / "README.md").write_text(f"{worker} {turn}")
        item = draft(1, created_by=f"worker {worker} turn {turn}")
        versions.append(registry.publish(files, item, who=f"worker {worker}").version)
    registry.close()
    return versions


def _publish_same(barrier: Any, url: str, root: str) -> tuple[int, bool]:
    registry = _open(url, root)
    files = folder(Path(root, "same"), 1)
    barrier.wait(120)
    published = registry.publish(files, draft(1), who="anyone", alias="prod")
    registry.close()
    return published.version, published.created


def _race(barrier: Any, url: str, root: str, version: int) -> int:
    registry = _open(url, root)
    barrier.wait(120)
    wins = 0
    for _ in range(15):
        held = registry.resolve("medical:prod").version
        try:
            registry.promote("medical", version, "prod", who=f"{version}", expect=held)
            wins += 1
        except Conflict:
            continue
    registry.close()
    return wins


def _churn(barrier: Any, url: str, root: str, worker: int) -> int:
    registry = _open(url, root)
    barrier.wait(120)
    count = _collect(registry, Path(root)) if worker == 0 else _turn_over(registry, root, worker)
    registry.close()
    return count


def _collect(registry: Registry, root: Path) -> int:
    removed = 0
    while len(list(root.glob("done-*"))) < 2:
        removed += len(registry.upkeep.gc(grace=0).blobs)
        if removed:
            Path(root, "collected").touch()
    return removed


def _turn_over(registry: Registry, root: str, worker: int) -> int:
    """Publish and delete until gc has removed something, which may come late on a busy machine."""
    collected, turn = Path(root, "collected"), 0
    late = time.monotonic() + LATE_S
    try:
        while True:
            # Two contents in turn, shared by both publishers: blobs die and are needed anew.
            files = folder(Path(root, f"worker-{worker}"), turn % 2)
            item = draft(turn, name=f"name-{worker}", created_by=f"{worker}")
            published = registry.publish(files, item, who="ann")
            registry.read(published.digest, "servable/adapter_model.safetensors")
            turn += 1
            if turn >= TURNS and (collected.exists() or time.monotonic() > late):
                return turn  # the last one stays
            registry.delete(published.name, published.version, who="ann")
    finally:
        Path(root, f"done-{worker}").touch()
