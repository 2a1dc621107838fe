"""A signature that was taken back, or whose version was deleted, does not count again by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import Refused
from adapterworks.registry.lifecycle import signing
from adapterworks.registry.registry import Registry
from tests.registry.keys import make_key
from tests.registry.releases import publish

Keys = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in ("ann", "bob")}


@pytest.fixture
def signed(registry: Registry, tmp_path: Path, keys: Keys) -> str:
    """`medical@1`, signed by ann and bob; its digest."""
    digest = publish(registry, tmp_path).digest
    for name, (private, _) in keys.items():
        registry.signatures.sign(digest, private, who=name)
    return digest


def counts(registry: Registry, digest: str, keys: Keys) -> set[str]:
    """Whose signatures count."""
    found = set()
    for name, (_, public) in keys.items():
        try:
            registry.signatures.require(digest, [public])
        except Refused:
            continue
        found.add(name)
    return found


def test_every_signature_or_one_keys(registry: Registry, signed: str, keys: Keys) -> None:
    assert counts(registry, signed, keys) == {"ann", "bob"}
    ann = signing.key_id(keys["ann"][1])
    registry.signatures.revoke("medical@1", ann, who="bob", why="her laptop was stolen")
    assert counts(registry, signed, keys) == {"bob"}
    assert set(registry.signatures.counting(signed)) == {signing.key_id(keys["bob"][1])}
    with pytest.raises(Refused, match=r"was revoked by bob on .*: her laptop was stolen"):
        registry.signatures.require(signed, [keys["ann"][1]])
    registry.signatures.revoke("medical@1", who="bob", why="poisoned rows")
    assert counts(registry, signed, keys) == set()
    assert set(registry.signatures.void(signed)) == {signing.key_id(p) for _, p in keys.values()}
    report = registry.upkeep.verify("medical@1", public_keys=[keys["bob"][1]])
    assert [problem.kind for problem in report.problems] == ["signature"]
    assert "poisoned rows" in report.problems[0].message


def test_a_deleted_version_that_is_published_again_stays_revoked(
    registry: Registry, tmp_path: Path, signed: str, keys: Keys
) -> None:
    registry.delete("medical", 1, who="ann", why="a back door")
    again = publish(registry, tmp_path)
    assert (str(again), again.digest) == ("medical@2", signed)
    assert counts(registry, signed, keys) == set()
    with pytest.raises(Refused, match=r"with the version that was deleted by ann on .*: a back"):
        registry.signatures.require(signed, [keys["ann"][1]])


def test_who_signs_anew_has_seen_why(registry: Registry, signed: str, keys: Keys) -> None:
    registry.signatures.revoke("medical@1", who="bob", why="looked at again")
    registry.signatures.sign(signed, keys["ann"][0], who="ann", why="looked at, it is good")
    assert counts(registry, signed, keys) == {"ann"}
    registry.signatures.revoke("medical@1", who="bob", why="it is not")
    assert counts(registry, signed, keys) == set()
    assert registry.upkeep.verify().clean


def test_signatures_that_come_with_a_pull_do_not_undo_a_revocation(
    registry: Registry, tmp_path: Path, signed: str, keys: Keys
) -> None:
    bundles = {key: held[0] for key, held in registry.signatures.counting(signed).items()}
    registry.delete("medical", 1, who="ann", why="a back door")
    publish(registry, tmp_path)
    registry.signatures.receive(signed, bundles, who="eve")
    assert counts(registry, signed, keys) == set()
    registry.signatures.sign(signed, keys["bob"][0], who="bob")
    assert counts(registry, signed, keys) == {"bob"}


def test_a_bundle_in_a_file_counts_no_more_than_one_that_is_kept(
    registry: Registry, tmp_path: Path, signed: str, keys: Keys
) -> None:
    ann, bob = (signing.key_id(public) for _, public in keys.values())
    bundle = registry.signatures.own(signed)[ann]
    both = [public for _, public in keys.values()]
    assert registry.signatures.require_bundle(signed, bundle, both) == ann
    other = publish(registry, tmp_path, 2).digest
    for digest, text, public in (
        (other, bundle, both),
        (signed, bundle, both[1:]),
        (signed, "{}", both),
    ):
        with pytest.raises(Refused, match="does not fit the record"):
            registry.signatures.require_bundle(digest, text, public)
    registry.signatures.revoke("medical@1", who="bob", why="poisoned rows")
    with pytest.raises(Refused, match="poisoned rows"):
        registry.signatures.require_bundle(signed, bundle, both)
    assert bob not in registry.signatures.counting(signed)
