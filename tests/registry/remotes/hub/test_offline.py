"""A pushed folder is checked against a key, with no registry at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.registry.lifecycle import signing
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.hub.layout import RECORD, layout
from adapterworks.registry.remotes.hub.offline import check_offline
from adapterworks.registry.remotes.hub.signatures import signature_files
from tests.registry.keys import make_key
from tests.registry.releases import publish

CARD = "adapterworks/README.md"


@pytest.fixture
def scene(local_registry: Registry, tmp_path: Path) -> tuple[Path, Path, Path]:
    """(a clone with its signature, that signature in a file, the public key)."""
    private, public = make_key(tmp_path, "ours")
    digest = publish(local_registry, tmp_path).digest
    key = local_registry.signatures.sign(digest, private, who="ann")
    bundle = tmp_path / "medical.sig"
    bundle.write_text(local_registry.signatures.own(digest)[key])
    release = local_registry.release(digest)
    files = {target: local_registry.read(digest, path) for target, path in layout(release).items()}
    files[RECORD] = release.to_bytes()
    files |= signature_files(local_registry.signatures.counting(digest))
    clone = tmp_path / "clone"
    for target, data in files.items():
        (clone / target).parent.mkdir(parents=True, exist_ok=True)
        (clone / target).write_bytes(data)
    return clone, bundle, public


def test_a_whole_clone_is_right(scene: tuple[Path, Path, Path]) -> None:
    clone, bundle, public = scene
    for signature in (bundle, None):
        found = check_offline(clone, signature, [public])
        assert found.key == signing.key_id(public)
        assert (found.absent, found.wrong) == ((), ())
        assert {"adapter/adapter_model.safetensors", "README.md"} <= set(found.right)
    record = check_offline(clone / RECORD, bundle, [public])
    assert (record.release.name, record.right) == ("medical", ())


def test_what_was_changed_lacks_or_is_a_link_is_wrong(scene: tuple[Path, Path, Path]) -> None:
    clone, bundle, public = scene
    weights = clone / "adapter_model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + b"!")
    (clone / CARD).unlink()
    found = check_offline(clone, bundle, [public])
    assert found.wrong == ("adapter/adapter_model.safetensors",)
    assert found.absent == ("README.md",)
    (clone / "elsewhere").write_bytes(good)
    weights.unlink()
    weights.symlink_to(clone / "elsewhere")
    assert check_offline(clone, bundle, [public]).wrong == ("adapter/adapter_model.safetensors",)
    weights.unlink()  # no release is without its weights
    assert check_offline(clone, bundle, [public]).wrong == ("adapter/adapter_model.safetensors",)


def test_another_key_another_record_and_no_signature(
    scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    clone, bundle, public = scene
    _, other = make_key(tmp_path, "theirs")
    with pytest.raises(Refused, match="does not fit the record"):
        check_offline(clone, bundle, [other])
    with pytest.raises(Refused, match="none of the trusted keys signed it"):
        check_offline(clone, None, [other])
    record = clone / RECORD
    data = record.read_bytes()
    record.write_bytes(data.replace(b'"tester"', b'"nobody"'))
    with pytest.raises(Refused, match="does not fit the record"):
        check_offline(clone, bundle, [public])
    record.write_bytes(data + b" ")
    with pytest.raises(IntegrityError, match="not in canonical form"):
        check_offline(clone, bundle, [public])
    with pytest.raises(InvalidInput, match="whose signature"):
        check_offline(clone, bundle, [])
    record.unlink()
    with pytest.raises(NotFound, match=r"release\.json` is not there"):
        check_offline(clone, bundle, [public])
