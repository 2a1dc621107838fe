"""Answers that are paid for once: by request, across runs, after a kill."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.endpoints import asking
from adapterworks.builders.endpoints.cache import open_cache
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.manifests.errors import Conflict, Refused, Unavailable
from tests.builders.endpoints.standin import completion, endpoint


def chats(*texts: str) -> list[Chat]:
    return [Chat([{"role": "user", "content": text}], 5) for text in texts]


def echo(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    return 200, completion(body["messages"][-1]["content"].upper()), {}


def test_a_request_is_sent_once(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with endpoint(echo) as asked:
        target = Endpoint(asked.url, "m", "a-key-that-is-secret")
        with open_cache(path) as kept:
            said = kept.ask(target, chats("a", "b", "a"))
            assert [one.text for one in said] == ["A", "B", "A"]
            assert (kept.asked, kept.sent_tokens) == (2, 20)
        with open_cache(path) as kept:
            assert [one.text for one in kept.ask(target, chats("b", "c"))] == ["B", "C"]
            assert kept.asked == 1
            kept.ask(Endpoint(asked.url, "another"), chats("a"))  # somebody else's answer
            kept.ask(target, [Chat(chats("a")[0].messages, 6)])  # another request
    assert len(asked.bodies) == 5
    assert b"secret" not in path.read_bytes()


def test_what_arrived_before_a_fault_is_kept_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"

    def refuses_b(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if body["messages"][-1]["content"] == "b" and len(asked.bodies) < 3:
            return 400, {"error": {"message": "no"}}, {}
        return echo(body)

    with endpoint(refuses_b) as asked:
        target = Endpoint(asked.url, "m")
        with open_cache(path) as kept, pytest.raises(Refused):
            kept.ask(target, chats("a", "b"), parallel=1)
        whole = path.read_bytes()
        (line,) = (line for line in whole.splitlines() if b'"text"' in line)
        path.write_bytes(whole + line)
        with open_cache(path) as kept:
            said = kept.ask(target, chats("a", "b", "c"), parallel=1)
        with open_cache(path) as kept:
            assert kept.ask(target, chats("a", "b", "c")) == said
    assert [one.text for one in said] == ["A", "B", "C"]
    assert [body["messages"][-1]["content"] for body in asked.bodies] == ["a", "b", "b", "c"]
    assert path.read_bytes().startswith(whole)
    answers = [line for line in path.read_bytes().splitlines() if b'"text"' in line]
    assert len(answers) == 3


def test_what_fails_or_is_under_way_when_a_process_ends_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is killed has sent what the endpoint has got: it is on the disk before it is sent."""
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.0)
    path, killed = tmp_path / "kept.jsonl", tmp_path / "killed.jsonl"
    (chat,) = chats("a")
    most = chat.most_tokens

    def paid(of: Path) -> int:
        with open_cache(of) as kept:
            return kept.paid

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        shutil.copy(path, killed)
        return replies.pop(0)

    for status, tries, cost in ((504, 8, 8 * most), (429, 8, 0), (401, 1, 0), (200, 1, most)):
        path.unlink(missing_ok=True)
        replies = [(status, {}, {})] * tries
        with (
            endpoint(answer) as asked,
            open_cache(path) as kept,
            pytest.raises(Refused if status == 401 else Unavailable),
        ):
            kept.ask(Endpoint(asked.url, "m"), [chat])
        assert (paid(path), replies) == (cost, []), status
        assert paid(killed) == (8 * most if status == 504 else most), status
    # It goes on: what failed before stays paid, what is answered costs what it cost.
    replies = [(429, {}, {}), (502, {}, {}), (200, completion("x"), {})]
    with endpoint(answer) as asked, open_cache(path) as kept:
        kept.ask(Endpoint(asked.url, "m"), [chat])
        assert kept.paid == 2 * most + 10
    assert paid(path) == 2 * most + 10


def test_what_is_broken_off_because_another_fails_is_paid(tmp_path: Path) -> None:
    """Two are under way; one is refused for its key, and nobody waits for the other."""
    path, arrived, done = tmp_path / "kept.jsonl", threading.Event(), threading.Event()
    slow, wrong = chats("slow", "wrong")

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if body["messages"][-1]["content"] == "slow":
            arrived.set()
            assert done.wait(60)
            return 200, completion("x"), {}
        assert arrived.wait(60)
        return 401, {}, {}

    with endpoint(answer) as asked:
        with open_cache(path) as kept, pytest.raises(Refused):
            kept.ask(Endpoint(asked.url, "m"), [slow, wrong])
        done.set()
    with open_cache(path) as kept:
        assert kept.paid == slow.most_tokens


def test_a_chat_that_is_declined_is_answered_so_and_not_asked_again(tmp_path: Path) -> None:
    """Others of the batch are answered; nothing was billed for it."""
    path = tmp_path / "kept.jsonl"
    why = {"error": {"code": "context_length_exceeded", "message": "too long"}}

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        return (400, why, {}) if body["messages"][-1]["content"] == "b" else echo(body)

    with endpoint(answer) as asked:
        target = Endpoint(asked.url, "m")
        with open_cache(path) as kept:
            said = kept.ask(target, chats("a", "b", "c"))
            assert (kept.paid, kept.sent) == (20, {target: (14, 6)})
        with open_cache(path) as kept:
            assert kept.ask(target, chats("a", "b", "c")) == said
            assert kept.paid == 20
    assert [one.text for one in said] == ["A", "", "C"]
    assert [bool(one.declined) for one in said] == [False, True, False]
    assert "400: " in said[1].declined
    assert "context_length_exceeded" in said[1].declined
    assert len(asked.bodies) == 3


def test_one_process_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with (
        open_cache(path),
        pytest.raises(Conflict, match="another process is asking"),
        open_cache(path),
    ):
        pass
