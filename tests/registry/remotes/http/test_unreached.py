"""What keeps commands from a server: a certificate, a port without TLS, a name not found."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.cli.chat_asking import Address, answered
from adapterworks.login.flow import offered_by
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.remotes.http.link import Link
from tests.gateway.engines.test_tls import authority

ASKS: dict[str, Callable[[str], Any]] = {
    "chat": lambda url: answered(Address.parse(url), {}, 0.0),
    "registry": lambda url: Link(url, None, insecure=True).get("/names", list),
    "login": offered_by,
}


def refused(ask: str, url: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        ASKS[ask](url)
    return caught.value


class Nonsense(http.server.BaseHTTPRequestHandler):
    """Says that it is packed and is not, or has more brackets than anybody can read."""

    def do_GET(self) -> None:
        packed = self.path.startswith("/packed")
        body = b"{}" if packed else b"[" * 100_000
        self.send_response(403 if self.path.endswith("/names") and not packed else 200)
        self.send_header("Content-Length", str(len(body)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def served(
    context: ssl.SSLContext | None,
    handler: type[http.server.BaseHTTPRequestHandler] = http.server.BaseHTTPRequestHandler,
) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[int]:
    """A server whose certificate nobody here trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority(tmp_path, "ours").issue(tmp_path, "localhost"))
    yield from served(context)


@pytest.fixture
def without_tls() -> Iterator[int]:
    yield from served(None)


@pytest.fixture
def nonsense() -> Iterator[int]:
    yield from served(None, Nonsense)


@pytest.mark.parametrize("ask", ["registry", "login"])
@pytest.mark.parametrize("said", ["packed", "deep"])
def test_an_answer_that_cannot_be_read_is_told_in_a_sentence(
    ask: str, said: str, nonsense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapterworks.registry.remotes.http.link.time.sleep", lambda _: None)
    with pytest.raises(AdapterworksError, match=r"127\.0\.0\.1"):
        ASKS[ask](f"http://127.0.0.1:{nonsense}/{said}")


@pytest.mark.parametrize("ask", ASKS)
def test_a_certificate_that_is_not_trusted(ask: str, with_tls: int) -> None:
    error = refused(ask, f"https://localhost:{with_tls}")
    assert "the certificate of `localhost` is not trusted: " in error.message
    assert "SSL_CERT_FILE" in (error.hint or "")


@pytest.mark.parametrize("ask", ASKS)
def test_the_hint_of_a_certificate_helps(
    ask: str, with_tls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ours.pem"))
    url = f"https://localhost:{with_tls}"
    with pytest.raises(Exception, match=r"501|takes no logins"):  # it answers: nothing of ours
        ASKS[ask](url)


@pytest.mark.parametrize("ask", ASKS)
def test_a_port_without_tls(ask: str, without_tls: int) -> None:
    error = refused(ask, f"https://localhost:{without_tls}")
    assert "is https, and no TLS is spoken there" in error.message
    assert "`http://`" in (error.hint or "")


@pytest.mark.parametrize("ask", ASKS)
def test_a_name_that_is_not_found(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refused(ask, "https://gateway.invalid")
    assert error.message == "the name `gateway.invalid` is not found: Name or service not known"
    assert "DNS" in (error.hint or "")


def test_nobody_there_is_said_as_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refused("chat", f"http://127.0.0.1:{port}")
    assert "no gateway answers at" in error.message
    assert "adapters serve" in (error.hint or "")


def test_http_where_tls_is_spoken(with_tls: int) -> None:
    error = refused("chat", f"http://localhost:{with_tls}")
    assert "https://" in f"{error.message} {error.hint}"
