"""A release through an OCI registry: the same one comes back, and no more leaves than may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import Conflict, IntegrityError, NotFound, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.oci import media
from tests.registry.keys import make_key
from tests.registry.remotes.oci.conftest import ROWS
from tests.registry.remotes.oci.moves import REPOSITORY, pulled, pushed
from tests.registry.remotes.oci.standin import EMPTY, OciStandin


@pytest.mark.parametrize("referrers", [True, False])
def test_a_release_comes_back_as_the_same_one_with_its_signature(
    ours: Registry, theirs: Registry, oci: OciStandin, tmp_path: Path, referrers: bool
) -> None:
    oci.referrers = referrers
    private, public = make_key(tmp_path, "release")
    release = ours.resolve("medical@1")
    ours.signatures.sign(release.digest, private, who="ann")
    done = pushed(ours, oci.host)
    assert (done.created, done.tag, done.withheld) == (True, "v1", (ROWS,))
    came = pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1", alias="prod")
    assert came.published.digest == release.digest
    assert came.withheld == (ROWS,)
    for path in ours.release(release.digest).files.keys() - {ROWS}:
        assert theirs.read(release.digest, path) == ours.read(release.digest, path)
    assert theirs.signatures.require(release.digest, [public])
    assert [p for p in (theirs.home / "tmp").rglob("*") if p.is_file()] == []


def test_the_manifest_is_one_that_other_tools_read(ours: Registry, oci: OciStandin) -> None:
    done = pushed(ours, oci.host, aliases=("prod",))
    manifest = oci.manifest("v1")
    assert oci.manifest("prod") == manifest
    assert done.commit == oci.tags[f"{REPOSITORY}:v1"]
    assert manifest["artifactType"] == "application/vnd.adapterworks.release.v1"
    assert manifest["config"]["digest"] == ours.resolve("medical@1").digest
    titles = {layer.get("annotations", {}).get(media.TITLE) for layer in manifest["layers"]}
    assert titles >= {"adapter/adapter_model.safetensors", "servable/adapter_config.json"}
    assert ROWS not in titles
    assert b"{}\n" not in oci.blobs.values()
    for layer in (manifest["config"], *manifest["layers"]):
        assert len(oci.blobs[layer["digest"]]) == layer["size"]
    kinds = {json.loads(data)["artifactType"] for _, data in oci.manifests.values()}
    assert kinds >= {"application/vnd.cyclonedx+json", "application/vnd.in-toto+json"}


def test_pushing_again_sends_nothing_and_says_what_an_earlier_push_took_along(
    ours: Registry, oci: OciStandin
) -> None:
    first = pushed(ours, oci.host, include=(ROWS,))
    assert (first.withheld, first.tells) == ((), (ROWS,))
    received, manifests = oci.received, len(oci.manifests)
    again = pushed(ours, oci.host)
    assert (again.created, again.commit, again.exposed) == (False, first.commit, (ROWS,))
    assert (oci.received, len(oci.manifests)) == (received, manifests)
    assert len([e for e in ours.log.events("medical") if e.kind == "push"]) == 1


def test_a_signature_that_was_made_since_follows(
    ours: Registry, theirs: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    pushed(ours, oci.host)
    private, public = make_key(tmp_path, "release")
    digest = ours.resolve("medical@1").digest
    ours.signatures.sign(digest, private, who="ann")
    said: list[str] = []
    pushed(ours, oci.host, say=said.append)
    assert said[-1] == "pushed signatures that were made since"
    pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1")
    assert theirs.signatures.require(digest, [public])


def test_who_may_read_is_found_out_before_anything_is_sent(ours: Registry, oci: OciStandin) -> None:
    said: list[str] = []
    with pytest.raises(Refused, match="is public, a private push was asked for"):
        pushed(ours, oci.host, private=True, say=said.append)
    assert said == [f"oci://{oci.host}/{REPOSITORY} is PUBLIC: anybody may read what is pushed"]
    assert oci.blobs.keys() == {EMPTY}
    assert oci.manifests == {}


def test_a_tag_of_something_else_is_not_moved(ours: Registry, oci: OciStandin) -> None:
    pushed(ours, oci.host, "stable")
    tampered = canonical_json(
        {**oci.manifest("stable"), "config": {**oci.manifest("stable")["config"], "digest": EMPTY}}
    )
    digest = digest_bytes(tampered)
    oci.manifests[digest] = (media.MANIFEST, tampered)
    oci.tags[f"{REPOSITORY}:stable"] = digest
    with pytest.raises(Conflict, match="is something else already"):
        pushed(ours, oci.host, "stable")
    assert oci.tags[f"{REPOSITORY}:stable"] == digest


def test_what_is_not_there_and_what_is_not_ours(theirs: Registry, oci: OciStandin) -> None:
    with pytest.raises(NotFound, match="has no `v1`"):
        pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1")
    image = {"schemaVersion": 2, "mediaType": media.MANIFEST, "layers": [],
             "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                        "digest": EMPTY, "size": 2}}  # fmt: skip
    for table, words in (
        (image, "was not pushed by adapterworks"),
        ({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}, "is no artifact"),
    ):
        data = canonical_json(table)
        oci.manifests[digest_bytes(data)] = (str(table["mediaType"]), data)
        oci.tags[f"{REPOSITORY}:v1"] = digest_bytes(data)
        with pytest.raises(Refused, match=words):
            pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1")


def test_changed_bytes_do_not_arrive(ours: Registry, theirs: Registry, oci: OciStandin) -> None:
    pushed(ours, oci.host)
    release = ours.release(ours.resolve("medical@1").digest)
    weights = release.files["adapter/adapter_model.safetensors"].digest
    oci.blobs[weights] = oci.blobs[weights][:-1] + b"\x01"
    with pytest.raises(IntegrityError, match="is not what its record says"):
        pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1")
    other = canonical_json({**oci.manifest("v1"), "annotations": {}})
    oci.manifests[oci.tags[f"{REPOSITORY}:v1"]] = (media.MANIFEST, other)
    pinned = f"oci://{oci.host}/{REPOSITORY}@{oci.tags[f'{REPOSITORY}:v1']}"
    with pytest.raises(IntegrityError, match="has other bytes"):
        pulled(theirs, pinned)
    assert theirs.names() == []
