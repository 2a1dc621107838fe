"""What the registry holds, as a folder of manifests is compared with it."""

from __future__ import annotations

from pathlib import Path

from adapterworks.reconciling.world import Reader
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.record import read_record
from tests.registry.releases import draft, folder


def test_what_a_pulled_record_and_its_lock_claim_is_not_how_it_was_made(tmp_path: Path) -> None:
    """Else a stranger's weights under our name, with our manifest, would be promoted as ours."""
    plan = f"sha256:{'7' * 64}"
    manifest = {"adapter": {"name": "medical"}, "train": {"epochs": 1.0}}
    made = []
    for place in ("here", "there"):
        where = tmp_path / place
        with Registry.open(
            database=f"sqlite:///{where}/i.db", blobs=str(where / "blobs"), home=where
        ) as registry:
            reader = Reader(registry, BaseStore(where / "bases"), where)
            files = folder(tmp_path / "files", lock={"semantics": {}, "packages": {}})
            if place == "here":
                item = draft(plan=plan, manifest=manifest)
                published = registry.publish(files, item, who="ann")
                record = registry.release(published.digest).to_bytes()
            else:
                registry.adopt(files, read_record(record), who="bob")
            (version,) = reader._versions("medical", None)
            made.append(version.made)
    assert made[0] is not None
    assert made[1] is None
