"""What the registry holds, as a folder of manifests is compared with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.reconciling.differences import differences
from adapterworks.reconciling.entries import Build
from adapterworks.reconciling.folder import read_folder
from adapterworks.reconciling.world import Reader
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.record import read_record
from tests.builders.workshop import MANIFEST, Workshop
from tests.registry.releases import draft, folder, publish


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


def test_a_stage_that_was_never_built_is_built_and_is_no_fault_of_its_manifest(
    tmp_path: Path,
) -> None:
    """A manifest whose release is there is divided into stages: `NAME:sft` means nothing yet."""
    ads = tmp_path / "ads"
    ads.mkdir()
    Workshop(ads, "hub:org/base@" + "c" * 40)
    text = MANIFEST.format(base="hub:org/base@" + "c" * 40, kind="lora", epochs=1, rate=1e-2)
    stages = '[[stages]]\nname = "sft"\n[[stages]]\nname = "more"\ntrain.epochs = 2\n'
    (ads / "tiny.toml").write_text(text + stages)
    read = read_folder(ads)
    (item,) = read.read
    assert item.manifest is not None
    with Registry.open(
        database=f"sqlite:///{tmp_path}/i.db", blobs=str(tmp_path / "blobs"), home=tmp_path
    ) as registry:
        declared = item.manifest.model_dump(mode="json") | {"start": None}
        made = draft(name="tiny", plan=f"sha256:{'7' * 64}", manifest=declared)
        lock = {"semantics": {}, "packages": {}}
        registry.publish(folder(tmp_path / "files", lock=lock), made, who="ann")
        world = Reader(registry, BaseStore(tmp_path / "bases"), tmp_path).read(read)
    assert world.declared[0].fault is None
    (entry,) = differences(world).entries
    assert entry.sign == "~"
    (action,) = entry.actions
    assert isinstance(action, Build)


@pytest.mark.parametrize("removed", [False, True])
def test_a_start_that_is_added_or_removed_changes_the_training_and_not_the_card(
    tmp_path: Path, removed: bool
) -> None:
    ads = tmp_path / "ads"
    ads.mkdir()
    Workshop(ads, "hub:org/base@" + "c" * 40)
    text = MANIFEST.format(base="hub:org/base@" + "c" * 40, kind="lora", epochs=1, rate=1e-2)
    begun = text + '[start]\nfrom = "medical@1"\n'
    manifest = ads / "tiny.toml"
    with Registry.open(
        database=f"sqlite:///{tmp_path}/i.db", blobs=str(tmp_path / "blobs"), home=tmp_path
    ) as registry:
        first = publish(registry, tmp_path)
        manifest.write_text(begun if removed else text)
        (item,) = read_folder(ads).read
        assert item.manifest is not None
        made = draft(
            name="tiny", plan=f"sha256:{'7' * 64}", manifest=item.manifest.model_dump(mode="json")
        )
        origins = {"start": first.digest} if removed else {}
        lock = {"semantics": {}, "packages": {}, "origins": origins}
        registry.publish(folder(tmp_path / "files", lock=lock), made, who="ann", alias="candidate")
        reader = Reader(registry, BaseStore(tmp_path / "bases"), tmp_path)
        (entry,) = differences(reader.read(read_folder(ads))).entries
        assert entry.sign == "=", entry
        manifest.write_text(text if removed else begun)
        (entry,) = differences(reader.read(read_folder(ads))).entries
    assert entry.actions == (Build("tiny.toml", "train"),)
    assert [finding.what for finding in entry.findings] == ["training changed"]
    assert entry.findings[0].why == "`start` differs"


def test_a_teacher_that_moves_is_another_training(tmp_path: Path) -> None:
    """As a start that moves is: the name is the same, the release is another."""
    ads = tmp_path / "ads"
    ads.mkdir()
    Workshop(ads, "hub:org/base@" + "c" * 40)
    text = MANIFEST.format(base="hub:org/base@" + "c" * 40, kind="lora", epochs=1, rate=1e-2)
    (ads / "tiny.toml").write_text(
        text + '[objective]\nkind = "distill"\nteacher = "medical:prod"\n'
    )
    with Registry.open(
        database=f"sqlite:///{tmp_path}/i.db", blobs=str(tmp_path / "blobs"), home=tmp_path
    ) as registry:
        first = publish(registry, tmp_path, alias="prod")
        (item,) = read_folder(ads).read
        assert item.manifest is not None, item.error
        made = draft(
            name="tiny", plan=f"sha256:{'7' * 64}", manifest=item.manifest.model_dump(mode="json")
        )
        lock = {"semantics": {}, "packages": {}, "origins": {"teacher": first.digest}}
        registry.publish(folder(tmp_path / "files", lock=lock), made, who="ann", alias="candidate")
        reader = Reader(registry, BaseStore(tmp_path / "bases"), tmp_path)
        (entry,) = differences(reader.read(read_folder(ads))).entries
        assert entry.sign == "=", entry
        publish(registry, tmp_path, 2, alias="prod")
        (entry,) = differences(reader.read(read_folder(ads))).entries
    assert [finding.what for finding in entry.findings] == ["training changed"]
    assert entry.findings[0].why == "`teacher` differs"
