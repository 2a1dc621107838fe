"""Answers that are paid for once: by request, across runs, after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.endpoints.asking import Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.kept import kept_answers
from adapterworks.manifests.errors import Conflict, Refused
from tests.builders.endpoints.standin import completion, endpoint


def chats(*texts: str) -> list[Chat]:
    return [Chat([{"role": "user", "content": text}], 5) for text in texts]


def echo(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    return 200, completion(body["messages"][-1]["content"].upper()), {}


def test_a_request_is_sent_once(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with endpoint(echo) as asked:
        target = Endpoint(asked.url, "m", "a-key-that-is-secret")
        with kept_answers(path) as kept:
            said = kept.ask(target, chats("a", "b", "a"))
            assert [one.text for one in said] == ["A", "B", "A"]
            assert (kept.asked, kept.sent_tokens) == (2, 20)
        with kept_answers(path) as kept:
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
        with kept_answers(path) as kept, pytest.raises(Refused):
            kept.ask(target, chats("a", "b"), parallel=1)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:-1])
        with kept_answers(path) as kept:
            said = kept.ask(target, chats("a", "b", "c"), parallel=1)
        with kept_answers(path) as kept:
            assert kept.ask(target, chats("a", "b", "c")) == said
    assert [one.text for one in said] == ["A", "B", "C"]
    assert [body["messages"][-1]["content"] for body in asked.bodies] == ["a", "b", "b", "c"]
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 3


def test_one_process_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with (
        kept_answers(path),
        pytest.raises(Conflict, match="another process is asking"),
        kept_answers(path),
    ):
        pass
