"""A whole registry on PostgreSQL and S3: what is used beyond one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.blobs.open import open_blobs
from adapterworks.registry.registry import Registry
from tests.postgres import new_database
from tests.registry.releases import publish
from tests.registry.s3_servers import S3Server


def test_publish_on_one_machine_check_out_on_another(
    postgres_server: str,
    nanio_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    nanio_server.use(monkeypatch)
    database, blobs = new_database(postgres_server), f"s3://{nanio_server.new_bucket()}/adapters"
    one, other = (
        Registry.open(database=database, blobs=blobs, home=tmp_path / home)
        for home in ("one", "other")
    )
    published = publish(one, tmp_path, 1, alias="prod")
    publish(one, tmp_path, 2)
    resolved = other.resolve("medical")
    assert resolved.digest == published.digest
    folder = other.checkout(resolved.digest, "servable")
    original = tmp_path / "release-1" / "servable" / "adapter_model.safetensors"
    assert (folder / original.name).read_bytes() == original.read_bytes()
    other.delete("medical", 2, who="ann")
    assert len(one.upkeep.gc(grace=0).blobs) > 0
    assert other.upkeep.verify().clean
    weights = other.release(resolved.digest).files["servable/adapter_model.safetensors"].digest
    one.blobs.delete(weights)
    with pytest.raises(IntegrityError, match="is missing"):
        other.read(resolved.digest, "servable/adapter_model.safetensors")
    local = open_blobs(str(tmp_path / "backup"))
    local.put(weights, original)
    assert other.upkeep.verify(repair_from=local).clean
    for registry in (one, other):
        registry.close()
