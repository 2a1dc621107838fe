"""Signatures over release records: OpenSSF model-signing in key mode.

What is signed is a folder `release/` that holds the record as `release.json`; the record names
every file by digest, so its signature covers all bytes. Bundles are in-toto statements in DSSE
envelopes in the sigstore bundle format: `model_signing verify key` checks an exported one without
us. They are rows beside the release, append-only, one a key. See docs/adr on signing.

What was signed stays signed; whether it still counts is told by the log (`revocation.py`).

Keys are PEM files of elliptic-curve keys (P-256, P-384, P-521).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.index import schema
from adapterworks.registry.lifecycle import revocation
from adapterworks.registry.releases.types import now

_signatures, _received = schema.signatures, schema.received_signatures


def sign(record: bytes, private_key: Path, password: str | None = None) -> tuple[str, str]:
    """Sign a record; returns the key's id and the bundle (JSON).

    Raises:
        InvalidInput: the key cannot be read or is of another kind.
    """
    from cryptography.hazmat.primitives import serialization
    from model_signing import signing

    secret = None if password is None else password.encode()
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), secret)
        config = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"`{private_key}` is not a usable private key: {error}",
            hint="make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
        ) from error
    public = _pem(key.public_key())
    with _as_folder(record) as folder:
        bundle = folder.parent / "bundle.json"
        config.sign(folder, bundle)
        return digest_bytes(public), bundle.read_text()


def public_key_of(private_key: Path, password: str | None = None) -> str:
    """The public key (PEM) of a private one that `sign` took."""
    from cryptography.hazmat.primitives import serialization

    secret = None if password is None else password.encode()
    key = serialization.load_pem_private_key(private_key.read_bytes(), secret)
    return _pem(key.public_key()).decode()


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def key_id(public_key: Path) -> str:
    """The id of a public key: the digest of its PEM.

    Raises:
        InvalidInput: not a PEM public key.
    """
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(public_key.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"`{public_key}` is not a public key: {error}",
            hint="derive it: openssl ec -in key.pem -pubout -out key.pub",
        ) from error
    return digest_bytes(_pem(key))


def require(
    record: bytes,
    bundles: Mapping[str, Sequence[str]],
    public_keys: Sequence[Path],
    what: str,
    revoked: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Check that one of `public_keys` signed the record; returns that key's id.

    Args:
        bundles: signatures that count, by the id of the key that is said to have made them.
        what: how to call the release in a message.
        revoked: key id → why its signature does not count, for the message.

    Raises:
        Refused: no good signature by any of the keys.
    """
    reasons = []
    for public_key in public_keys:
        identity = key_id(public_key)
        for bundle in bundles.get(identity, ()):
            if fits(record, bundle, public_key):
                return identity
            reasons.append(f"the signature by `{public_key}` does not fit the record")
        if identity in revoked:
            reasons.append(f"the signature by `{public_key}` was {revoked[identity]}")
    reason = "; ".join(reasons) or "none of the trusted keys signed it"
    raise Refused(f"`{what}` has no good signature: {reason}", hint="adapters sign REF --key KEY")


def fits(record: bytes, bundle: str, public_key: Path) -> bool:
    """Whether a bundle is a key's signature over a record. It is untrusted: anything is no."""
    from model_signing import verifying

    with _as_folder(record) as folder:
        stored_bundle = folder.parent / "bundle.json"
        try:
            stored_bundle.write_text(bundle)
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
            verifier.verify(folder, stored_bundle)
        except Exception:  # whatever goes wrong, it is not good
            return False
    return True


def store(connection: Connection, digest: str, key: str, bundle: str, *, who: str) -> bool:
    """Keep a signature; false when this key has signed the release already."""
    if key in stored(connection, digest):
        return False
    connection.execute(
        sa.insert(_signatures).values(release=digest, key=key, bundle=bundle, at=now(), who=who)
    )
    return True


def stored(connection: Connection, digest: str) -> dict[str, str]:
    """The signatures of a release, by key id."""
    rows = connection.execute(
        sa.select(_signatures.c.key, _signatures.c.bundle).where(_signatures.c.release == digest)
    )
    return {row.key: row.bundle for row in rows}


def receive(connection: Connection, digest: str, bundles: Mapping[str, str], *, who: str) -> None:
    """Keep signatures that came with a release from elsewhere; nobody has checked them yet."""
    for key, bundle in bundles.items():
        row = {"release": digest, "digest": digest_bytes(bundle.encode())}
        here = (getattr(_received.c, column) == value for column, value in row.items())
        if connection.scalar(sa.select(_received.c.release).where(*here)) is None:
            values = {**row, "key": key, "bundle": bundle, "at": now(), "who": who}
            connection.execute(sa.insert(_received).values(**values))


def known(connection: Connection, digest: str) -> dict[str, list[str]]:
    """The signatures of a release that count, by key id: ours, then those that came with it."""
    void = revocation.of(connection, digest)
    own = stored(connection, digest).items()
    found = {key: [bundle] for key, bundle in own if void.reason(key) is None}
    query = sa.select(_received).where(_received.c.release == digest).order_by(_received.c.digest)
    for row in connection.execute(query):
        if void.reason(row.key, received=True) is None:
            found.setdefault(row.key, []).append(row.bundle)
    return found


def void(connection: Connection, digest: str) -> dict[str, str]:
    """The keys whose signatures of a release do not count any more, and why."""
    revocations = revocation.of(connection, digest)
    keys = {*stored(connection, digest)}
    keys |= set(connection.scalars(sa.select(_received.c.key).where(_received.c.release == digest)))
    counting = known(connection, digest)
    return {
        key: revocations.reason(key, received=True) or ""
        for key in sorted(keys)
        if key not in counting
    }


@contextmanager
def _as_folder(record: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adapters-sign-") as parent:
        folder = Path(parent, "release")
        folder.mkdir()
        (folder / "release.json").write_bytes(record)
        yield folder
