"""A certificate authority of one's own, and what it certifies: this machine."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The authority's certificate (PEM), and the context of a server on 127.0.0.1."""
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _builder("an authority", "an authority", root)
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = authority.add_extension(usage, True)
    identity = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    authority = authority.add_extension(identity, False)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    served = _builder("a registry", "an authority", own).add_extension(here, False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    served = served.add_extension(above, False)
    file, pair = folder / "authority.pem", folder / "registry.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(authority.sign(root, hashes.SHA256()).public_bytes(pem))
    pair.write_bytes(
        served.sign(root, hashes.SHA256()).public_bytes(pem)
        + own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return file, context


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )
