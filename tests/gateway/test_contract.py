"""What every engine behind the gateway must give an unmodified OpenAI client."""

from __future__ import annotations

import openai
import pytest

from tests.gateway.running import Running

HELLO = [{"role": "user", "content": "Say hello."}]
pytestmark = pytest.mark.engine


def test_chat_answers_under_the_name_that_was_asked_for(either: Running) -> None:
    client = either.client()
    for ref in ("medical", "medical@1", "medical:prod", "smollm2-135m-instruct"):
        raw = client.chat.completions.with_raw_response.create(
            model=ref, messages=HELLO, max_tokens=5, temperature=0
        )
        answer = raw.parse()
        assert answer.model == ref
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens == 5
        assert raw.headers["x-adapter-ref"] == ref
        assert raw.headers["x-request-id"].startswith("req-")
        assert raw.headers["x-base-digest"].startswith("sha256:")
        assert ("x-adapter-digest" in raw.headers) == (ref != "smollm2-135m-instruct")


def test_two_adapters_and_the_base_answer_differently(either: Running) -> None:
    client = either.client()
    answers = {
        client.chat.completions.create(model=ref, messages=HELLO, max_tokens=16, temperature=0)
        .choices[0]
        .message.content
        for ref in ("medical", "enterprise-kb", "smollm2-135m-instruct")
    }
    assert len(answers) == 3


def test_a_stream_has_no_counts_unless_asked_for(either: Running) -> None:
    client = either.client()
    chunks = list(
        client.chat.completions.create(
            model="medical", messages=HELLO, max_tokens=5, temperature=0, stream=True
        )
    )
    assert {chunk.model for chunk in chunks} == {"medical"}
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    whole = client.chat.completions.create(
        model="medical", messages=HELLO, max_tokens=5, temperature=0
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == whole.choices[0].message.content


def test_a_stream_ends_with_the_counts_when_asked_for(either: Running) -> None:
    chunks = list(
        either.client().chat.completions.create(
            model="medical",
            messages=HELLO,
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-1].choices == []


def test_completions(either: Running) -> None:
    answer = either.client().completions.create(model="code", prompt="def f(", max_tokens=4)
    assert answer.model == "code"
    assert answer.usage.completion_tokens == 4


@pytest.mark.parametrize(
    "model", ["nobody", "medical@99", "medical:nowhere", "a b/../c", "sha256:0"]
)
def test_an_unknown_model_is_404_in_openai_shape(either: Running, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        either.client().chat.completions.create(model=model, messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert f"`{model}` does not exist" in caught.value.message


def test_the_engines_own_refusal_reaches_the_client_without_engine_names(either: Running) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        either.client().chat.completions.create(model="medical", messages="not a list")  # type: ignore[arg-type]
    assert "sha256:" not in str(caught.value.body)


def test_models_lists_bases_and_aliases(either: Running) -> None:
    ids = [model.id for model in either.client().models.list()]
    assert ids == ["smollm2-135m-instruct", "code", "enterprise-kb", "medical"]
    assert either.client().models.retrieve("medical@1").id == "medical@1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/invocations"),
        ("POST", "/pause"),
        ("POST", "/update_weights"),
        ("POST", "/collective_rpc"),
        ("POST", "/inference/v1/generate"),
        ("POST", "/v1/chat/completions/batch"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1//chat/completions"),
        ("POST", "/v1/chat/../load_lora_adapter"),
        ("POST", "/v1/%6coad_lora_adapter"),
        ("GET", "/server_info"),
        ("GET", "/status"),
        ("GET", "/docs"),
    ],
)
def test_engine_admin_paths_are_unreachable(either: Running, method: str, path: str) -> None:
    """Anchor 11: vLLM's `--api-key` leaves `/invocations`, `/pause`, `/update_weights` open."""
    with either.http() as http:
        answer = http.request(method, path, json={"lora_name": "x", "lora_path": "/"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_a_known_path_with_another_method_is_405(either: Running) -> None:
    with either.http() as http:
        assert http.get("/v1/completions").status_code == 405


def test_generate_is_the_seeds_example(either: Running) -> None:
    with either.http() as http:
        answer = http.post(
            "/generate", json={"adapter": "medical", "prompt": "Say hello.", "max_tokens": 4}
        )
    assert answer.status_code == 200
    assert answer.json()["adapter"] == "medical"
    assert answer.json()["text"]
    assert answer.json()["usage"]["completion_tokens"] == 4
    assert answer.headers["x-adapter-digest"].startswith("sha256:")
