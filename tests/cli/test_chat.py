"""`adapters chat` against a server that says what the test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli import chat
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import NotFound, Unavailable


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
        for name, value in {**headers, "content-length": str(len(data))}.items():
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
    monkeypatch.setattr(chat, "time", clock)
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
