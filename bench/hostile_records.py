"""Ten hostile *records*: what a stranger's release claims, and what comes of it.

Each is a repository as a stranger would push it: consistent to the last digest, in canonical form,
with every file that it names. Each is pulled into a registry that has a release, an alias and a
build of its own. Accepted is one that is listed here with what it claims, or that changed anything
that was here before.

    python -m bench.hostile_records [--json]

`python -m bench.sabotage` begins with them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.pull import pull
from tests.registry.imports.hostile.good import (
    HIDDEN,
    LAYERS,
    RANK,
    TARGETS,
    write_adapter,
    write_base,
)
from tests.registry.releases import BASE, draft, folder
from tests.registry.remotes.hub.memory import MemoryHub

RECORD = "adapterworks/release.json"
THEIRS = "evil/lora"
PLAN = "sha256:" + "9" * 64
Files = dict[str, bytes]
Table = dict[str, Any]


@dataclass(frozen=True)
class Hostile:
    """One record.

    Attributes:
        done: what it claims, for the table.
        spoil: changes the record and the files that it names.
        harmless: what must hold of the registry if it may be taken after all.
    """

    name: str
    done: str
    spoil: Callable[[Table, Files], None]
    harmless: Callable[[Registry], bool] | None = None


def _set(path: str, value: Any) -> Callable[[Table, Files], None]:
    *above, last = path.split(".")

    def spoil(record: Table, files: Files) -> None:
        table = record
        for key in above:
            table = table[key]
        table[last] = value

    return spoil


def _of_a_plan(record: Table, files: Files) -> None:
    record.update(plan=PLAN, metrics={"icd_chapter": 0.99})
    record["digests"] = dict.fromkeys(("train", "evaluate", "publish"), PLAN)


def _spares_no_build(registry: Registry) -> bool:
    found = [registry.origins.find_plan(name, PLAN) for name in ("medical", "nice-lora")]
    stages = [
        registry.origins.find_stages(stage, PLAN) for stage in ("train", "evaluate", "publish")
    ]
    return not any(found) and not any(stages)


def _prefix(layers: int) -> Callable[[Table, Files], None]:
    def spoil(record: Table, files: Files) -> None:
        shape = (3, 2, HIDDEN // 4)
        names = [f"layers.{n}.{part}" for n in range(layers) for part in ("key", "value")]
        for path in [path for path in files if path.startswith("servable/")]:
            del files[path]
        files["servable/prefix.safetensors"] = _tensors(dict.fromkeys(names, np.ones(shape)))
        record["servable"] = {**record["servable"], "form": "prefix", "rank": None,
                              "target_modules": [], "virtual_tokens": 3}  # fmt: skip

    return spoil


def _probes(record: Table, files: Files) -> None:
    top = [[[1, -1.0]]] * 64
    probe = {
        "token_ids": [1] * 60_000,
        "positions": list(range(1, 65)),
        "adapter": top,
        "base": top,
    }
    fingerprint = {"schema_version": 1, "base_digest": BASE.digest, "template_digest": "sha256:0",
                   "probes": [probe] * 8}  # fmt: skip
    files["fingerprint.json"] = json.dumps(fingerprint).encode()


def _lock(record: Table, files: Files) -> None:
    files["adapter.lock"] = b"[" * 100_000 + b"]" * 100_000


def _file_and_folder(record: Table, files: Files) -> None:
    files.update({"adapter.lock": b"{}", "adapter.lock/x.json": b"{ }"})


def _escapes(record: Table, files: Files) -> None:
    record.update(description="\x1b]0;PWNED\x07\x1b[2Jnice", tags=["a\x1b[31m"])


RECORDS = (
    Hostile("squat", "the name of a release that is here", _set("name", "medical")),
    Hostile("plan", "the plan of a build that is yet to come", _of_a_plan, _spares_no_build),
    Hostile("rank", "rank 600", _set("servable.rank", 600)),
    Hostile("rank-of-config", "another rank than its config", _set("servable.rank", RANK + 4)),
    Hostile("tokens", "a million virtual tokens", _set("servable", {
        "form": "prefix", "origin": "exact", "rank": None, "target_modules": [],
        "virtual_tokens": 10**6, "error": 0.0})),
    Hostile("prefix", "a prefix of more layers than its base has", _prefix(LAYERS + 1)),
    Hostile("probes", "a fingerprint that costs 30 million tokens", _probes),
    Hostile("lock", "a lock of 100,000 brackets", _lock),
    Hostile("path", "a path that is a file and a folder", _file_and_folder),
    Hostile("escapes", "escape codes for a terminal", _escapes),
)  # fmt: skip


def _tensors(tensors: dict[str, np.ndarray]) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "t.safetensors")
        save_file({name: value.astype(np.float32) for name, value in tensors.items()}, path)
        return path.read_bytes()


def _good(scratch: Path) -> tuple[Table, Files]:
    """The record and the files of a release to which nobody would object."""
    write_adapter(scratch / "servable")
    files = {
        f"servable/{path.name}": path.read_bytes() for path in (scratch / "servable").iterdir()
    }
    files |= {f"adapter/{path.rpartition('/')[2]}": data for path, data in files.items()}
    files["README.md"] = b"# medical\n"
    servable = {"form": "lora", "origin": "native", "rank": RANK, "target_modules": list(TARGETS)}
    record: Table = draft(name="nice-lora", servable=servable).model_dump(mode="json")
    return record, files


def pushed(hostile: Hostile, scratch: Path) -> Files:
    """The repository of a record: its digests fit, and no file lacks."""
    record, files = _good(scratch)
    hostile.spoil(record, files)
    record["files"] = {
        path: {"digest": digest_bytes(data), "size": len(data), "role": _role(path)}
        for path, data in files.items()
    }
    placed: Files = {}
    seen: set[str] = set()
    for path, data in sorted(
        files.items(), key=lambda item: (not item[0].startswith("adapter/"), item)
    ):
        if digest_bytes(data) in seen:
            continue
        seen.add(digest_bytes(data))
        target = path.removeprefix("adapter/")
        placed[f"adapterworks/{path}" if target == "README.md" else target] = data
    return {**placed, RECORD: canonical_json(record)}


def _role(path: str) -> str:
    from adapterworks.registry.releases.roles import role_of

    return role_of(path)


def _standing(registry: Registry) -> Any:
    """What must be as it was."""
    return (
        [(row.version, row.digest, row.aliases) for row in registry.versions("medical")],
        registry.weights("medical", "prod"),
        registry.upkeep.verify().clean,
    )


def outcome(hostile: Hostile, scratch: Path) -> tuple[bool, str]:
    """(whether it was accepted, what was said)."""
    base = cast(Base, type("Tiny", (), {"checkpoint": write_base(scratch / "base")}))
    blobs, home = str(scratch / "blobs"), scratch / "home"
    url = f"sqlite:///{scratch / 'index.db'}"
    hub = MemoryHub()
    state = hub.fill(pushed(hostile, scratch / "pushed"), THEIRS)
    assert state.commit == hub.state(HubSource(THEIRS)).commit
    with Registry.open(database=url, blobs=blobs, home=home) as registry:
        registry.publish(folder(scratch / "ours"), draft(), alias="prod", who="ann")
        before = _standing(registry)
        try:
            pull(
                registry, cast(Hub, hub), state, who="bob", scratch=home / "tmp",
                find_base=lambda _: base,
            )  # fmt: skip
        except AdapterworksError as error:
            return _standing(registry) != before, error.message
        kept = hostile.harmless is not None and hostile.harmless(registry)
        told = "taken, and what it claims counts for nothing here" if kept else "taken"
        return not kept or _standing(registry) != before, told


def outcomes() -> dict[str, tuple[bool, str]]:
    """What comes of each."""
    found = {}
    for hostile in RECORDS:
        with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
            found[hostile.name] = outcome(hostile, Path(scratch))
    return found


def main() -> int:
    """Print the table; 1 if one was accepted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found = outcomes()
    if arguments.json:
        json.dump(found, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for hostile in RECORDS:
            accepted, said = found[hostile.name]
            sys.stdout.write(f"{hostile.done:<44} {'ACCEPTED: ' if accepted else ''}{said}\n")
    accepted = sum(taken for taken, _ in found.values())
    sys.stdout.write(f"{len(found)} hostile records, {accepted} accepted\n")
    return 1 if accepted else 0


if __name__ == "__main__":
    sys.exit(main())
