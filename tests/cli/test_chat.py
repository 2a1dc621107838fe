"""`adapters chat` against a server that says what the test tells it to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli import chat_asking
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused, Unavailable


class _Gateway(HTTPServer):
    """Gives `answers` in their order: (status, headers, body)."""

    answers: list[tuple[int, dict[str, str], dict[str, Any]]]
    asked: list[dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: _Gateway

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)
        status, headers, body = self.server.answers.pop(0)
        data = json.dumps(body).encode()
        self.send_response(status)
        given = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[_Gateway]:
    with _Gateway(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping only moves the clock; what was slept is kept."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(chat_asking, "time", clock)
    return slept


def _ask(gateway: _Gateway, *options: str) -> Any:
    url = f"http://127.0.0.1:{gateway.server_port}"
    return CliRunner().invoke(cli, ["chat", "medical", "hello", "--url", url, "--json", *options])


def _loading(seconds: str | None) -> tuple[int, dict[str, str], dict[str, Any]]:
    headers = {} if seconds is None else {"retry-after": seconds}
    return 503, headers, {"error": {"message": "`medical` is still being loaded\n\nhint: again"}}


ANSWER: tuple[int, dict[str, str], dict[str, Any]] = (
    200,
    {"x-adapter-digest": "sha256:1"},
    {"choices": []},
)


def _said(text: str, digest: str | None) -> tuple[int, dict[str, str], dict[str, Any]]:
    headers = {} if digest is None else {"x-adapter-digest": digest}
    return 200, headers, {"choices": [{"message": {"content": text}}]}


def test_several_are_asked_the_same_and_answer_side_by_side(gateway: _Gateway) -> None:
    gateway.answers = [_said("I21", "sha256:1"), _said("I\n22", "sha256:2"), _said("Hm", None)]
    url = f"http://127.0.0.1:{gateway.server_port}"
    refs = ["medical@2", "medical@1", "base"]
    result = CliRunner().invoke(cli, ["chat", *refs, "infarction", "--url", url])
    assert result.exit_code == 0, result.exception
    assert gateway.answers == []
    asked = [(body["model"], body["messages"]) for body in gateway.asked]
    assert asked == [(ref, [{"role": "user", "content": "infarction"}]) for ref in refs]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["REF", "ANSWER"]
    assert lines[1].split() == ["medical@2", "I21"]
    assert lines[-1].split() == ["base", "Hm"]
    assert "medical@1 is sha256:2" in result.stderr
    assert "base is the base itself" in result.stderr
    gateway.answers = [_said("I21", "sha256:1"), _said("I22", "sha256:2")]
    result = CliRunner().invoke(cli, ["chat", "a", "b", "?", "--url", url, "--json"])
    assert [one["adapter_digest"] for one in json.loads(result.stdout)] == ["sha256:1", "sha256:2"]


def test_while_it_is_loaded_the_question_is_asked_again(
    gateway: _Gateway, clock: list[float]
) -> None:
    gateway.answers = [_loading("2"), _loading("5"), ANSWER]
    told = _ask(gateway)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["adapter_digest"] == "sha256:1"
    assert clock == [2.0, 5.0]
    assert told.stderr == "waiting: `medical` is still being loaded\n"


def test_it_waits_as_long_as_was_said(gateway: _Gateway, clock: list[float]) -> None:
    gateway.answers = [_loading("2"), _loading("2"), _loading("2")]
    told = _ask(gateway, "--wait", "5")
    assert isinstance(told.exception, Unavailable)
    assert told.exception.message == "`medical` is still being loaded"
    assert clock == [2.0, 2.0]


@pytest.mark.parametrize("header", [None, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_what_names_no_seconds_is_not_asked_again(
    gateway: _Gateway, clock: list[float], header: str | None
) -> None:
    gateway.answers = [_loading(header)]
    told = _ask(gateway)
    assert isinstance(told.exception, Unavailable)
    assert clock == []


def test_a_refusal_is_not_asked_again(gateway: _Gateway, clock: list[float]) -> None:
    gateway.answers = [(404, {"retry-after": "1"}, {"error": {"message": "no `medical`"}})]
    assert isinstance(_ask(gateway).exception, NotFound)
    assert clock == []


def test_without_a_key_the_variable_is_named(gateway: _Gateway, clock: list[float]) -> None:
    said = "no API key was given\n\nhint: send it as `Authorization: Bearer aw-…`"
    gateway.answers = [(401, {}, {"error": {"message": said}})]
    error = _ask(gateway).exception
    assert isinstance(error, Refused), error
    assert error.message == "no API key was given"
    assert "`ADAPTERS_KEY`" in (error.hint or "")


def _event(text: str) -> bytes:
    body = json.dumps({"choices": [{"delta": {"content": text}}]}).encode()
    return b"data: " + body + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
CHUNKED = STREAM + b"transfer-encoding: chunked\r\n\r\n"
HEL = _chunk(_event("hel"))
WHOLE = CHUNKED + HEL + _chunk(_event("lo")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"


def _asked_of(sent: bytes, *options: str, reset: bool = False) -> Any:
    """What the command says of a server that sends these bytes and closes."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(sent)
            if reset:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):  # what was not read would make it a reset
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = CliRunner().invoke(cli, ["chat", "medical", "hello", "--url", url, *options])
        thread.join()
    return result


def test_an_answer_as_it_comes() -> None:
    told = _asked_of(WHOLE)
    assert (told.exit_code, told.stdout) == (0, "hello\n")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (CHUNKED + HEL, "was broken off"),  # a gateway that was killed
        (CHUNKED + HEL + b"0\r\n\r\n", "closed before its end"),  # a proxy that ended it
        (STREAM + b"\r\n" + _event("hel"), "closed before its end"),
        (CHUNKED + HEL[:-20], "was broken off"),  # in the middle of a piece
        (CHUNKED + HEL + _chunk(b"data: {\n\n"), "what came is no answer's"),
        (CHUNKED + HEL + _chunk(b"data: []\n\n"), "what came is no answer's"),
        (CHUNKED + HEL + _chunk(b'data: {"choices": [3]}\n\n'), "what came is no answer's"),
        (PAGE, "is no gateway: it sent `text/html`"),
        (PAGE.replace(b"200 OK", b"502 Bad"), "answered 502 without a gateway's message"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 90\r\n\r\n{", "was broken off"),
    ],
)
def test_what_is_cut_off_or_no_gateways_is_not_taken_for_an_answer(sent: bytes, words: str) -> None:
    told = _asked_of(sent)
    assert isinstance(told.exception, Unavailable), told.exception
    assert words in told.exception.message
    assert told.stdout in ("hel\n", "\n", "")


def test_a_connection_that_is_reset_is_an_answer_broken_off() -> None:
    told = _asked_of(CHUNKED + HEL, reset=True)
    assert isinstance(told.exception, Unavailable), told.exception


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (PAGE, "is no gateway"),
        (PAGE.replace(b"text/html", b"application/json"), "was broken off"),
        (PAGE.replace(b"text/html", b"application/json").replace(b"<html>", b'{"a":3'), "broken"),
        (PAGE.replace(b"text/html", b"application/json").replace(b"<html>", b"[1, 2]"), "choices"),
    ],
)
def test_a_whole_answer_is_a_gateways(sent: bytes, words: str) -> None:
    told = _asked_of(sent, "--json")
    assert isinstance(told.exception, Unavailable), told.exception
    assert words in told.exception.message


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:99999", "http://.example.com", "ftp://x", "http://", "http://[::1"),
        *("http://127.0.0.1:8080/a b", "http://127.0.0.1:x"),
    ],
)
def test_what_is_no_url_is_said_before_it_is_asked(url: str) -> None:
    told = CliRunner().invoke(cli, ["chat", "medical", "hello", "--url", url])
    assert isinstance(told.exception, InvalidInput), told.exception
    assert "is not an http URL" in told.exception.message


@pytest.mark.parametrize("key", ["sk-schlüssel", "sk-1\nhost: x", "sk 1", "sk-\u4e2d"])
def test_what_can_be_no_key_is_said(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERS_KEY", key)
    told = CliRunner().invoke(cli, ["chat", "medical", "hello"])
    assert isinstance(told.exception, InvalidInput), told.exception
    assert "`ADAPTERS_KEY` is no key" in told.exception.message
    assert key not in told.exception.message
