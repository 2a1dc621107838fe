"""Chats sent over real HTTP: order, what is asked again, what is refused, other spellings."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from adapterworks.builders.endpoints.asking import ask_endpoint
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.manifests.errors import Refused, Unavailable
from tests.builders.endpoints.standin import completion, endpoint


def chats(count: int) -> list[Chat]:
    return [Chat([{"role": "user", "content": f"say {n}"}], 5, seed=n) for n in range(count)]


def echo(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    return 200, completion(body["messages"][-1]["content"].upper()), {}


def test_answers_come_in_the_order_of_the_questions() -> None:
    seen: list[tuple[int, int]] = []
    with endpoint(echo) as asked:
        target = Endpoint(asked.url, "m", "secret")
        said = ask_endpoint(target, chats(20), progress=lambda *at: seen.append(at))
    assert [one.text for one in said] == [f"SAY {n}" for n in range(20)]
    assert said[0] == Answer("SAY 0", False, 7, 3)
    assert seen == [(n, 20) for n in range(1, 21)]
    assert set(asked.keys) == {"Bearer secret"}
    first = next(body for body in asked.bodies if body["seed"] == 0)
    assert first == {
        "model": "m",
        "messages": [{"role": "user", "content": "say 0"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "seed": 0,
        "path": "/v1/chat/completions",
    }


def test_who_is_busy_is_asked_again() -> None:
    left = {"busy": 2, "broken": 1}

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if left["busy"]:
            left["busy"] -= 1
            return 429, {"error": {"message": "slow down"}}, {"retry-after": "0"}
        if left["broken"]:
            left["broken"] -= 1
            return 502, b"<html>", {"retry-after": "0"}
        return echo(body)

    with endpoint(answer) as asked:
        (said,) = ask_endpoint(Endpoint(asked.url, "m"), chats(1))
    assert said.text == "SAY 0"
    assert len(asked.bodies) == 4


def test_who_stays_busy_is_given_up() -> None:
    with (
        endpoint(lambda _: (503, b"later\x1b[31m", {"retry-after": "0"})) as asked,
        pytest.raises(Unavailable, match=r"did not answer 8 times, at last: 503: later�\["),
    ):
        ask_endpoint(Endpoint(asked.url, "m"), chats(1))
    assert len(asked.bodies) == 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with (
        endpoint(lambda _: (status, {"error": {"message": "no"}}, {})) as asked,
        pytest.raises(Refused, match=rf"refused to answer as `m` \({status}"),
    ):
        ask_endpoint(Endpoint(asked.url, "m"), chats(1))
    assert len(asked.bodies) == 1


def test_models_that_reason_are_asked_in_their_spelling() -> None:
    """As OpenAI's o-series: `max_completion_tokens`, and no temperature but its own."""
    both = threading.Barrier(2, timeout=60)
    first = threading.local()

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        for name in ("max_tokens", "temperature", "seed"):
            if name in body:
                if name == "max_tokens" and not getattr(first, "seen", False):
                    first.seen = True
                    both.wait()  # two are refused at once: the second has learnt nothing yet
                error = {"message": "Unsupported parameter", "param": name}
                return 400, {"error": error}, {}
        return echo(body)

    with endpoint(answer) as asked:
        said = ask_endpoint(Endpoint(asked.url, "m"), chats(2), parallel=2)
    assert [one.text for one in said] == ["SAY 0", "SAY 1"]
    assert asked.bodies[-1]["max_completion_tokens"] == 5
    assert not {"max_tokens", "temperature", "seed"} & asked.bodies[-1].keys()


def test_a_parameter_that_has_no_other_name_is_a_refusal() -> None:
    error = {"error": {"message": "unknown model", "param": "model"}}
    with (
        endpoint(lambda _: (400, error, {})) as asked,
        pytest.raises(Refused, match="unknown model"),
    ):
        ask_endpoint(Endpoint(asked.url, "m"), chats(1))
    assert len(asked.bodies) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"not json",
        {"choices": []},
        {"choices": [{"message": {"content": ["parts"]}}]},
        {**completion("x"), "usage": {"prompt_tokens": "7"}},
        [],
    ],
)
def test_what_is_no_completion_fails_the_whole(said: Any) -> None:
    with (
        endpoint(lambda _: (200, said, {})) as asked,
        pytest.raises(Unavailable, match="is no chat completion"),
    ):
        ask_endpoint(Endpoint(asked.url, "m"), chats(1))


def test_cut_answers_calls_and_missing_usage() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    def answer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        told = completion(None, "length")
        told["choices"][0]["message"]["tool_calls"] = calls
        del told["usage"]
        return 200, told, {}

    with endpoint(answer) as asked:
        (said,) = ask_endpoint(Endpoint(asked.url, "m"), chats(1))
    assert said == Answer("", True, 0, 0, tuple(calls))


def test_an_address_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterworks.builders.endpoints.asking._FIRST_WAIT", 0.0)
    with endpoint(echo) as asked:
        pass
    with pytest.raises(Unavailable, match="did not answer 8 times"):
        ask_endpoint(Endpoint(asked.url, "m"), chats(1))
