"""What a registry, or whoever it sends us to, can make us send or read."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from adapterworks.manifests.errors import IntegrityError, Refused, Unavailable
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.names import parse_oci
from adapterworks.registry.remotes.oci.uploads import Uploads
from adapterworks.registry.remotes.oci.wire import MOST
from tests.registry.remotes.oci.authority import make_authority
from tests.registry.remotes.oci.moves import REPOSITORY, pulled, pushed
from tests.registry.remotes.oci.standin import OciStandin

DIGEST = f"sha256:{'1' * 64}"
AUTH = base64.b64encode(b"ann:secret").decode()
Answer = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture
def asked() -> list[httpx2.Request]:
    return []


@pytest.fixture
def client_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[httpx2.Request]
) -> Iterator[Callable[..., Client]]:
    """A client of somebody who is logged in; what it asks is answered here."""
    auths = {host: {"auth": AUTH} for host in ("r.example", "r.example:443")}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    opened: list[Client] = []

    def made(answer: Answer, name: str = "oci://r.example/a", *, plain: bool = False) -> Client:
        def told(request: httpx2.Request) -> httpx2.Response:
            asked.append(request)
            return answer(request)

        environ = {"DOCKER_CONFIG": str(tmp_path)}
        opened.append(Client(parse_oci(name), plain_http=plain, environ=environ))
        monkeypatch.setattr(opened[-1]._http, "_transport", httpx2.MockTransport(told))
        return opened[-1]

    yield made
    for client in opened:
        client.__exit__()


def challenged(request: httpx2.Request) -> httpx2.Response:
    """A registry with a token server."""
    if request.url.host == "t.example":
        return httpx2.Response(200, json={"token": "t"})
    if request.headers.get("Authorization") != "Bearer t":
        challenge = 'Bearer realm="https://t.example/t"'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge})
    return httpx2.Response(200, headers={"Content-Length": "3"})


def test_no_redirect_leads_out_of_tls(
    client_of: Callable[..., Client], asked: list[httpx2.Request], tmp_path: Path
) -> None:
    for place in ("http://cdn.example/x", "http://r.example/x", "http://127.0.0.1:80/x"):

        def sent_on(request: httpx2.Request, place: str = place) -> httpx2.Response:
            return httpx2.Response(307, headers={"Location": place})

        client = client_of(sent_on)
        with pytest.raises(Refused, match="without TLS"):
            client.fetch(DIGEST, tmp_path / "blob", limit=10)
        with pytest.raises(Refused, match="without TLS"):
            client.blob_size(DIGEST)
    assert {request.url.scheme for request in asked} == {"https"}
    asked.clear()
    client_of(sent_on, plain=True).request("GET", "http://cdn.example/x")
    assert [request.url.scheme for request in asked] == ["http"]


def test_no_upload_goes_on_in_the_clear(
    client_of: Callable[..., Client], asked: list[httpx2.Request]
) -> None:
    client = client_of(challenged)
    assert client.blob_size(DIGEST) == 3
    asked.clear()
    with pytest.raises(Refused, match="without TLS"):  # where the registry's `Location` says
        client.request("PUT", "http://r.example/v2/a/blobs/uploads/1", content=b"x")
    assert asked == []


def test_whoever_we_are_sent_to_cannot_ask_for_the_password(
    client_of: Callable[..., Client], asked: list[httpx2.Request]
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "r.example":
            return httpx2.Response(307, headers={"Location": "https://cdn.example/x"})
        challenge = 'Bearer realm="https://evil.example/t"'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge})

    with pytest.raises(Refused):
        client_of(answer).blob_size(DIGEST)
    assert [request.url.host for request in asked] == ["r.example", "cdn.example"]
    assert not any("Authorization" in request.headers for request in asked)


def test_a_port_that_goes_without_saying_is_the_same_registry(
    client_of: Callable[..., Client],
) -> None:
    assert client_of(challenged, "oci://r.example:443/a").blob_size(DIGEST) == 3


class Endless(httpx2.SyncByteStream):
    """An answer without an end; it counts what was read."""

    read = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.read += 1 << 16
            yield bytes(1 << 16)


@pytest.mark.parametrize("path", ["token", "manifest", "upload", "error"])
def test_an_answer_without_an_end_is_not_read_to_it(
    client_of: Callable[..., Client], path: str
) -> None:
    endless = Endless()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if path == "token" and request.url.host == "r.example":
            return challenged(request)
        return httpx2.Response(400 if path == "error" else 200, stream=endless)

    client = client_of(answer)
    begun = path in ("upload", "token")
    with pytest.raises(IntegrityError, match="more than"):
        client.request("POST", "blobs/uploads/") if begun else client.manifest("v1")
    assert endless.read == MOST + (1 << 16)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (httpx2.Response(307, headers={"Location": "https://r.example/v2/"}), Unavailable, "redir"),
        (httpx2.Response(403, content=DEEP), Refused, r"refuses \(403\)"),
        (httpx2.Response(503, headers=[(b"Retry-After", b"\xb2")]), Unavailable, "not able to"),
    ],
)
def test_what_a_registry_should_not_answer_is_told_in_a_sentence(
    client_of: Callable[..., Client],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: httpx2.Response,
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.setattr("adapterworks.registry.remotes.oci.client.time.sleep", lambda _: None)
    made = answer.status_code, list(answer.headers.raw), answer.content
    client = client_of(lambda _: httpx2.Response(made[0], headers=made[1], content=made[2]))
    with pytest.raises(error, match=says):
        client.fetch(DIGEST, tmp_path / "blob", limit=10)


@pytest.mark.parametrize("said", [DEEP, b"{}", b'{"token": 1}'])
def test_a_token_servers_answer_without_a_token_is_not_the_registrys(
    client_of: Callable[..., Client], said: bytes
) -> None:
    """Its 200 would say that a blob is there: it would not be sent, and the push succeed."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "t.example":
            return httpx2.Response(200, content=said)
        return challenged(request)

    client = client_of(answer)
    with pytest.raises(Refused, match="refuses"):
        client.manifest("v1")
    with pytest.raises(Refused, match="refuses"):
        client.blob_size(DIGEST)


def test_an_upload_that_goes_on_nowhere_ends_in_a_sentence(
    client_of: Callable[..., Client], tmp_path: Path
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "https://[::1"})
        return httpx2.Response(404)

    with pytest.raises(Unavailable, match="cannot push to"):
        Uploads(client_of(answer), tmp_path / "uploads.json").send(DIGEST, b"bytes")


def test_a_coded_answer_is_not_unpacked(client_of: Callable[..., Client]) -> None:
    packed = gzip.compress(bytes(1 << 20))
    headers = {"Content-Encoding": "gzip"}
    stream = httpx2.ByteStream(packed)
    client = client_of(lambda _: httpx2.Response(200, headers=headers, stream=stream))
    assert client.request("GET", "x").content == packed


def test_an_authority_of_ones_own_is_named_by_ssl_cert_file(
    ours: Registry, theirs: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, context = make_authority(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with OciStandin(tls=context) as oci:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert pushed(ours, oci.host).created
        with Client(parse_oci(f"oci://{oci.host}/{REPOSITORY}")) as client:
            assert client.endpoint == f"https://{oci.host}"
        assert pulled(theirs, f"oci://{oci.host}/{REPOSITORY}:v1").published.created
        monkeypatch.delenv("SSL_CERT_FILE")
        with httpx2.Client() as stranger, pytest.raises(httpx2.ConnectError, match="CERTIFICATE"):
            stranger.get(f"https://{oci.host}/v2/")
