"""What the registry adds to the bytes of a release: publishing and checking out, as ratios.

Publishing 20 MB is held against `cp` and fsync of the same file; a checkout that is there already
against one of a sixty-fourth of its size, since it must not depend on it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from adapterworks.registry.registry import Registry
from bench.report import Row, figure, interleave, ratios
from tests.registry.releases import draft

RUNS = 7
ADAPTER_BYTES = 20_000_000
SMALL, LARGE = 1 << 20, 1 << 26
SETTLED_S = 0.2  # after which a file's bytes are taken for those that were hashed


def rows(kind: str, registry: Registry, root: Path) -> list[Row]:
    """Measure on a registry that is there; `root` is a folder on its disk."""
    return [*_publishing(kind, registry, root / "publishing"), *_checking_out(kind, registry, root)]


def _publishing(kind: str, registry: Registry, root: Path) -> list[Row]:
    numbers = iter(range(10_000))

    def fresh() -> Path:
        folder = root / str(next(numbers)) / "servable"
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(os.urandom(ADAPTER_BYTES))
        return folder

    def copy() -> float:
        source = fresh() / "adapter_model.safetensors"
        return _timed(lambda: _copy(source, source.with_name("copy")))

    def publish() -> float:
        folder = fresh()
        number = int(folder.parent.name)
        made = draft(number, name="bytes", created_by=f"bytes {number}")
        return _timed(lambda: registry.publish(folder.parent, made, who="bench"))

    copied, published = interleave(RUNS, copy, publish)
    shutil.rmtree(root)
    return [
        figure(f"{kind}: publish 20 MB", "ms", published),
        figure(f"{kind}: cp and fsync 20 MB", "ms", copied),
        figure(f"{kind}: publish ÷ cp and fsync", "×", ratios(published, copied), goal="≤3"),
    ]


def _checking_out(kind: str, registry: Registry, root: Path) -> list[Row]:
    digests = []
    for size in (SMALL, LARGE):
        folder = root / f"checkout-{size}" / "servable"
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(os.urandom(size))
        made = draft(1, name="sized", created_by=f"{size} bytes")
        digests.append(registry.publish(folder.parent, made, who="bench").digest)
    small, large = digests

    def again(digest: str) -> Callable[[], float]:
        def check_out() -> None:
            for _ in range(20):
                registry.checkout(digest, "servable")

        return lambda: _timed(check_out) / 20

    registry.checkout(small, "servable")
    first = _timed(lambda: registry.checkout(large, "servable"))
    time.sleep(SETTLED_S)
    of_small, of_large = interleave(RUNS, again(small), again(large))
    return [
        figure(f"{kind}: first checkout of 64 MiB", "ms", [first]),
        figure(f"{kind}: checkout of 64 MiB again", "ms", of_large),
        figure(
            f"{kind}: checkout again, 64 MiB ÷ 1 MiB",
            "×",
            ratios(of_large, of_small),
            goal="≤1.2",
            note="unchanged",
        ),
    ]


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)
