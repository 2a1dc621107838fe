"""What `bench.registry_crash` kills: processes that do one operation over and over.

A module of its own, so that the fork server can load it, with all it needs, once for all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from adapterworks.manifests.errors import Conflict, InvalidInput
from adapterworks.registry.bases.base import Base
from adapterworks.registry.imports.publish import Origin, import_adapter
from adapterworks.registry.registry import Registry
from tests.registry.imports.hostile.good import good_tensors, write_adapter
from tests.registry.releases import draft, folder

NAME = "medical"
Act = Callable[[Registry, Path, str, random.Random], dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """Where a registry under test is."""

    database: str
    root: Path

    @contextmanager
    def open(self) -> Iterator[Registry]:
        """The registry, closed afterwards."""
        registry = Registry.open(
            database=self.database, blobs=str(self.root / "blobs"), home=self.root / "home"
        )
        try:
            yield registry
        finally:
            registry.close()


def work(sender: Connection, place: Place, operation: str, seed: str) -> None:
    """Do one operation for ever, saying `begin` before and what was done after."""
    chance = random.Random(seed)
    act = ACTS[operation]
    with place.open() as registry:
        for count in range(1_000_000):
            sender.send(("begin", {}))
            try:
                sender.send((operation, act(registry, place.root, f"{seed}-{count}", chance)))
            except Exception as error:
                sender.send(("failed", {"error": repr(error)}))
                raise


def publish(registry: Registry, root: Path, label: str, chance: random.Random) -> dict[str, Any]:
    files = folder(root / f"files-{label}", chance.randrange(1_000_000))
    alias = "candidate" if chance.random() < 0.5 else None
    published = registry.publish(files, draft(created_by=label), alias=alias, who=label)
    return {"version": published.version, "digest": published.digest}


def _promote(registry: Registry, root: Path, label: str, chance: random.Random) -> dict[str, Any]:
    """Move `prod` among the first three versions; another worker may be at it too."""
    version, weight = chance.randint(1, 3), chance.choice((100, 100, 10))
    try:
        if chance.random() < 0.25:
            return asdict(registry.rollback(NAME, "prod", who=label))
        return asdict(registry.promote(NAME, version, "prod", who=label, weight=weight))
    except (Conflict, InvalidInput):  # nothing earlier is left, or the version holds it already
        return asdict(registry.promote(NAME, version, "prod", who=label))


def _import(registry: Registry, root: Path, label: str, chance: random.Random) -> dict[str, Any]:
    tensors = good_tensors()
    shift = np.float32(chance.random())
    changed = {key: (value + shift).astype(np.float32) for key, value in tensors.items()}
    source = write_adapter(root / f"import-{label}", tensors=changed)
    base = Base(
        name="tiny",
        model="tiny",
        revision="0",
        quantization="none",
        double_quantization=True,
        digest=f"sha256:{'b' * 64}",
        checkpoint=root.parent / "base",
        served=root.parent / "base",
    )
    imported = import_adapter(
        registry,
        base,
        source,
        name="imported",
        origin=Origin(source=label),
        scratch=root / "scratch",
        who=label,
    )
    return {"version": imported.published.version, "digest": imported.published.digest}


def _delete(registry: Registry, root: Path, label: str, chance: random.Random) -> dict[str, Any]:
    """Publish something and delete it again: food for gc."""
    files = folder(root / f"files-{label}", chance.randrange(1_000_000))
    published = registry.publish(files, draft(name="doomed", created_by=label), who=label)
    registry.delete("doomed", published.version, who=label)
    return {"version": published.version}


def _gc(registry: Registry, root: Path, label: str, chance: random.Random) -> dict[str, Any]:
    return {"removed": len(registry.upkeep.gc(grace=0).blobs)}


ACTS: dict[str, Act] = {
    "publish": publish,
    "promote": _promote,
    "import": _import,
    "delete": _delete,
    "gc": _gc,
}
