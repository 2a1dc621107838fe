"""Signatures: made and checked with model-signing, append-only, required by policy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.registry.registry import Registry
from tests.registry.keys import make_key
from tests.registry.releases import publish


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in ("ours", "theirs")}


def test_a_signed_release_passes_and_others_are_refused(
    registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    signed, unsigned = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    private, public = keys["ours"]
    key = registry.signatures.sign(signed.digest, private, who="ann", why="release day")
    assert registry.signatures.require(signed.digest, [keys["theirs"][1], public]) == key
    for digest, trusted in ((unsigned.digest, public), (signed.digest, keys["theirs"][1])):
        with pytest.raises(Refused, match="none of the trusted keys signed it"):
            registry.signatures.require(digest, [trusted])
    event = registry.log.events("medical", version=1, limit=1)[0]
    assert (event.kind, event.who, event.why, event.data) == (
        "sign",
        "ann",
        "release day",
        {"key": key, "bundle": digest_bytes(registry.signatures.own(signed.digest)[key].encode())},
    )


def test_a_signature_of_another_release_does_not_pass(
    registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    private, public = keys["ours"]
    registry.signatures.sign(first.digest, private, who="ann")
    with registry.database.write() as connection:
        connection.execute(
            sa.text("INSERT INTO signatures SELECT :other, key, bundle, at, who FROM signatures"),
            {"other": second.digest},
        )
    with pytest.raises(Refused, match="does not fit the record"):
        registry.signatures.require(second.digest, [public])
    report = registry.upkeep.verify(public_keys=[public])
    assert [(item.kind, item.ref) for item in report.problems] == [
        ("signature", "medical@2"),
        ("index", "medical@2"),  # nor does the log know of it
    ]


def test_a_forged_bundle_is_refused_not_a_crash(
    registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    published = publish(registry, tmp_path)
    private, public = keys["ours"]
    key = registry.signatures.sign(published.digest, private, who="ann")
    digest = registry.resolve("medical@1").digest
    for number, forged in enumerate(("", "{}", "not json", '{"dsseEnvelope": 3}')):
        other = publish(registry, tmp_path, number + 2)
        with registry.database.write() as connection:
            connection.execute(
                sa.text("INSERT INTO signatures VALUES (:release, :key, :bundle, '', '')"),
                {"release": other.digest, "key": key, "bundle": forged},
            )
        with pytest.raises(Refused, match="does not fit the record"):
            registry.signatures.require(other.digest, [public])
    assert registry.signatures.require(digest, [public]) == key


def test_signing_twice_keeps_one_signature_which_cannot_be_changed(
    registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    published = publish(registry, tmp_path)
    private, _ = keys["ours"]
    registry.signatures.sign(published.digest, private, who="ann")
    first = registry.signatures.own(published.digest)
    registry.signatures.sign(published.digest, private, who="bob")
    assert registry.signatures.own(published.digest) == first
    for statement in ("UPDATE signatures SET bundle = ''", "DELETE FROM signatures"):
        with (
            pytest.raises(sa.exc.DBAPIError, match="append-only"),
            registry.database.write() as connection,
        ):
            connection.exec_driver_sql(statement)


def test_an_exported_bundle_is_checked_by_model_signing_itself(
    local_registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    published = publish(local_registry, tmp_path)
    private, public = keys["ours"]
    local_registry.signatures.sign(published.digest, private, who="ann")
    folder = tmp_path / "release"
    folder.mkdir()
    record = folder / "release.json"
    record.write_bytes(local_registry.release(published.digest).to_bytes())
    bundle = tmp_path / "bundle.json"
    bundle.write_text(next(iter(local_registry.signatures.own(published.digest).values())))
    arguments = ["verify", "key", str(folder), "--signature", str(bundle)]
    command = [sys.executable, "-m", "model_signing", *arguments, "--public_key", str(public)]
    good = subprocess.run(command, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    record.write_bytes(record.read_bytes().replace(b"tester", b"eve"))
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_keys_that_cannot_be_used_are_said(
    local_registry: Registry, tmp_path: Path, keys: dict[str, tuple[Path, Path]]
) -> None:
    published = publish(local_registry, tmp_path)
    ed25519, _ = make_key(tmp_path, "ed", "genpkey", "-algorithm", "ed25519")
    (tmp_path / "no.pem").write_text("not a key")
    for key in (ed25519, tmp_path / "no.pem", keys["ours"][1]):
        with pytest.raises(InvalidInput, match="is not a usable private key") as error:
            local_registry.signatures.sign(published.digest, key, who="ann")
        assert "openssl" in (error.value.hint or "")
    with pytest.raises(InvalidInput, match="is not a public key"):
        local_registry.signatures.require(published.digest, [tmp_path / "no.pem"])
    with pytest.raises(NotFound):
        local_registry.signatures.sign(f"sha256:{'0' * 64}", keys["ours"][0], who="ann")


def test_a_key_with_a_password(local_registry: Registry, tmp_path: Path) -> None:
    published = publish(local_registry, tmp_path)
    private, public = make_key(tmp_path, "plain")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", private, "-aes256", "-passout", "pass:open", "-out", locked],
        check=True,
        capture_output=True,
    )
    for password in (None, "wrong"):
        with pytest.raises(InvalidInput, match="is not a usable private key"):
            local_registry.signatures.sign(published.digest, locked, password=password, who="ann")
    key = local_registry.signatures.sign(published.digest, locked, password="open", who="ann")
    assert local_registry.signatures.require(published.digest, [public]) == key
