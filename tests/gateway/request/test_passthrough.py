"""What an OpenAI client can ask of vLLM it can ask through the gateway, unchanged."""

from __future__ import annotations

import json

import openai
import pytest

from tests.gateway.running import Running

pytestmark = pytest.mark.engine
# A base of two layers would fill the room between two marks of JSON with blanks for ever.
NO_BLANKS = {"temperature": 0, "frequency_penalty": 2.0, "max_tokens": 200}
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_tools(gateway: Running) -> None:
    answer = gateway.client().chat.completions.create(
        model="medical",
        messages=[{"role": "user", "content": "What is the weather in Rome?"}],
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        **NO_BLANKS,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


def test_structured_output(gateway: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"category": {"enum": ["A06", "B20"]}},
        "required": ["category"],
        "additionalProperties": False,
    }
    answer = gateway.client().chat.completions.create(
        model="medical",
        messages=[{"role": "user", "content": "The category of amebic balanitis, as JSON."}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "code", "schema": schema, "strict": True},
        },
        **NO_BLANKS,
    )
    assert json.loads(answer.choices[0].message.content)["category"] in ("A06", "B20")


def test_logprobs_n_stop_and_seed(gateway: Running) -> None:
    client = gateway.client()
    ask = {"model": "medical", "messages": HELLO, "max_tokens": 6}
    answer = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3, temperature=0)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 6
    assert all(len(token.top_logprobs) == 3 for token in tokens)
    several = client.chat.completions.create(**ask, n=3, seed=7, temperature=1.0)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage.completion_tokens > 6
    again = client.chat.completions.create(**ask, n=3, seed=7, temperature=1.0)
    assert [c.message.content for c in several.choices] == [
        c.message.content for c in again.choices
    ]
    word = answer.choices[0].message.content.split()[1]
    stopped = client.chat.completions.create(**ask, stop=[word], temperature=0)
    assert word not in stopped.choices[0].message.content
    assert stopped.choices[0].finish_reason == "stop"


def test_responses(gateway: Running) -> None:
    client = gateway.client()
    answer = client.responses.create(
        model="medical", input="Say hello.", max_output_tokens=4, temperature=0
    )
    assert answer.model == "medical"
    assert answer.usage.output_tokens == 4
    events = list(
        client.responses.create(
            model="medical", input="Say hello.", max_output_tokens=4, temperature=0, stream=True
        )
    )
    assert events[-1].response.model == "medical"
    assert events[-1].response.output_text == answer.output_text


def test_a_stored_conversation_is_refused_rather_than_forgotten(gateway: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        gateway.client().responses.create(
            model="medical", input="And then?", previous_response_id="resp_1"
        )


def test_anthropics_messages_and_error_shape(gateway: Running) -> None:
    with gateway.http() as http:
        body = {"model": "medical", "max_tokens": 4, "messages": HELLO}
        answer = http.post("/v1/messages", json=body, headers={"x-api-key": "none"}).json()
        assert answer["model"] == "medical"
        assert answer["usage"]["output_tokens"] == 4
        with http.stream("POST", "/v1/messages", json={**body, "stream": True}) as stream:
            lines = [line for line in stream.iter_lines() if line.startswith("data: {")]
        assert json.loads(lines[0][6:])["message"]["model"] == "medical"
        assert json.loads(lines[-1][6:])["type"] == "message_stop"
        missing = http.post("/v1/messages", json={**body, "model": "nobody"})
    assert missing.status_code == 404
    assert missing.json()["type"] == "error"
    assert missing.json()["error"]["type"] == "not_found_error"


def test_embeddings_are_404_where_the_base_has_none(gateway: Running) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.client().embeddings.create(model="medical", input="hello")
    assert "`medical` makes no embeddings: its base generates text" in caught.value.message


def test_prompt_logprobs_cannot_stop_the_engine(gateway: Running) -> None:
    """In vLLM 0.32 two requests with LoRA in one such batch end the engine for everyone."""
    with gateway.http() as http:
        body = {"model": "medical", "prompt": "one two three", "max_tokens": 1}
        for extra in ({"prompt_logprobs": 1}, {"echo": True, "logprobs": 1}):
            answer = http.post("/v1/completions", json={**body, **extra})
            assert answer.status_code == 400
            assert "is not supported" in answer.json()["error"]["message"]
