"""TLS to an engine: whose certificate is taken, whose is not, and what the gateway shows."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.engines.engine import NotAsked
from adapterworks.gateway.engines.identity import ask_base
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.engines.tls import EngineTls
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.faults import ManifestError

BASE = ServedBase("base", "base", "sha256:" + "b" * 64)


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate's file, and what it issues."""

    file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, place: Path, name: str, *also: x509.GeneralName) -> tuple[Path, Path]:
        """A certificate and its key, for a DNS name."""
        made = _certificate(name, self.certificate.subject, self.key, [x509.DNSName(name), *also])
        return _write(place, name, *made)


def _certificate(
    name: str,
    issuer: x509.Name | None,
    by: ec.EllipticCurvePrivateKey | None,
    names: list[x509.GeneralName],
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return built.sign(by or key, hashes.SHA256()), key


def _write(
    place: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    files = place / f"{name}.pem", place / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def authority(place: Path, name: str) -> Authority:
    """A CA of its own."""
    certificate, key = _certificate(name, None, None, [])
    return Authority(_write(place, name, certificate, key)[0], certificate, key)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path, "engines-ca")


@contextlib.asynccontextmanager
async def engine_at(
    ca: Authority, place: Path, *also: x509.GeneralName, asks: bool = False
) -> AsyncIterator[str]:
    """A server that is healthy and answers 404 to all else, under the name `vllm.models.svc`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ca.issue(place, "vllm.models.svc", *also))
    if asks:
        context.load_verify_locations(ca.file)
        context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"content-length: 2" in head:
                    await reader.readexactly(2)
                status = b"200 OK" if head.startswith(b"GET /health ") else b"404 Not Found"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def relayed(url: str, tls: EngineTls | None) -> int:
    """The status of what is relayed to an engine that is taken for ready."""
    engine = RemoteEngine(
        "one", BASE, url=url, slots=1, capacity=1, parallel=1, key=None, interval=3600.0,
        request_seconds=10.0, tls=tls,
    )  # fmt: skip
    await engine.start()
    try:
        engine._became("ready", "for this test")
        async with engine.post("/v1/completions", b"{}", {}) as answer:
            await answer.read()
            return answer.status
    finally:
        await engine.stop()


IP = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


async def test_a_ca_of_ones_own_is_trusted_where_it_is_named(ca: Authority, tmp_path: Path) -> None:
    other = authority(tmp_path, "another-ca")
    async with engine_at(ca, tmp_path, IP) as url:
        named = EngineTls(ca.file, None, None)
        assert await relayed(url, named) == 404
        with pytest.raises(Unavailable, match=r"does not say which base it serves \(404\)"):
            await ask_base(url, None, named)
        for wrong in (None, EngineTls(other.file, None, None)):
            with pytest.raises(NotAsked):
                await relayed(url, wrong)
            with pytest.raises(Unavailable, match="does not answer"):
                await ask_base(url, None, wrong)


async def test_the_name_is_checked_and_may_be_another_than_the_address(
    ca: Authority, tmp_path: Path
) -> None:
    async with engine_at(ca, tmp_path) as url:
        assert await relayed(url, EngineTls(ca.file, None, None, "vllm.models.svc")) == 404
        for name in (None, "other.models.svc"):
            with pytest.raises(NotAsked):
                await relayed(url, EngineTls(ca.file, None, None, name))
            with pytest.raises(Unavailable, match="does not answer"):
                await ask_base(url, None, EngineTls(ca.file, None, None, name))


async def test_an_engine_that_asks_for_a_certificate_is_shown_one(
    ca: Authority, tmp_path: Path
) -> None:
    cert, key = ca.issue(tmp_path, "gateway")
    stranger = authority(tmp_path, "another-ca").issue(tmp_path, "stranger")
    async with engine_at(ca, tmp_path, IP, asks=True) as url:
        assert await relayed(url, EngineTls(ca.file, cert, key)) == 404
        for shown in ((None, None), stranger):
            with pytest.raises(Unavailable):
                await relayed(url, EngineTls(ca.file, *shown))


async def test_an_engine_that_comes_back_is_asked_in_the_same_way(
    ca: Authority, tmp_path: Path
) -> None:
    async with engine_at(ca, tmp_path, IP) as url:
        engine = RemoteEngine(
            "one", BASE, url=url, slots=1, capacity=1, parallel=1, key=None, interval=0.01,
            request_seconds=10.0, told=True, tls=EngineTls(ca.file, None, None),
        )  # fmt: skip
        await engine.start()
        try:
            async with asyncio.timeout(30):
                while engine.health.state == "starting":  # noqa: ASYNC110 (it has no event for us)
                    await asyncio.sleep(0.01)
            assert "does not say which base it serves (404)" in engine.health.reason
        finally:
            await engine.stop()


async def test_renewed_files_are_used_and_broken_ones_change_nothing(
    ca: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority(tmp_path, "another-ca").issue(tmp_path, "gateway")
    tls = EngineTls(ca.file, cert, key)
    async with engine_at(ca, tmp_path, IP, asks=True) as url:
        with pytest.raises(Unavailable):
            await relayed(url, tls)
        ca.issue(tmp_path, "gateway")  # under the same names
        os.utime(cert, ns=(1, 1))
        assert await relayed(url, tls) == 404
        key.write_text("half a key")
        os.utime(key, ns=(2, 2))
        assert await relayed(url, tls) == 404
        assert await relayed(url, tls) == 404
        assert caplog.text.count("what was read before is used on") == 1
        assert "half a key" not in caplog.text


def test_a_file_that_is_none_is_said_when_the_gateway_starts(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing.pem` has no certificates of a CA: No such"):
        EngineTls(tmp_path / "missing.pem", None, None)
    cert, _ = ca.issue(tmp_path, "gateway")
    _, other = ca.issue(tmp_path, "other")
    with pytest.raises(InvalidInput, match="no certificate with its key"):
        EngineTls(ca.file, cert, other)


def test_paths_begin_at_the_file_and_what_means_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[[engines]]\nurl = "https://a:1"\nbase = "b"\nca = "ca.pem"\n')
    (table,) = load_gateway_config(file, {}).engines
    assert getattr(table, "ca", None) == str(tmp_path / "ca.pem")
    for wrong in (
        'url = "http://a:1"\nbase = "b"\nca = "ca.pem"',
        'url = "https://a:1"\nbase = "b"\ntls_key = "a.key"',
        'discover = "dns:a:1"\ntls_key = "a.key"',
    ):
        file.write_text(f"[[engines]]\n{wrong}\n")
        with pytest.raises(ManifestError):
            load_gateway_config(file, {})
