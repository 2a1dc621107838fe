"""What an OpenAI client can ask of vLLM it can ask through the gateway, unchanged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


SCORED = [504, 338, 260, 3575, 282, 4649, 314]


def test_prompts_of_several_adapters_are_scored_at_once_and_counted_once(gateway: Running) -> None:
    """In vLLM 0.32 two requests with LoRA in one such batch end the engine for everyone."""
    prompts = [SCORED, SCORED[:4]]
    body = {"prompt": prompts, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    models = ("medical", "code", "smollm2-135m-instruct") * 3

    def ask(model: str) -> dict[str, Any]:
        with gateway.http() as http:
            answer = http.post("/v1/completions", json={**body, "model": model})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    with ThreadPoolExecutor(len(models)) as threads:
        answers = list(threads.map(ask, models))
    by_model: dict[str, list[list[float]]] = {}
    for model, answer in zip(models, answers, strict=True):
        counts = (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
        assert counts == (len(SCORED) + 4, 2)
        for choice, prompt in zip(answer["choices"], prompts, strict=True):
            scores = choice["logprobs"]["token_logprobs"]
            assert scores[0] is None
            assert len(scores) == len(prompt) + 1
        # The shorter prompt is the longer one's beginning: so are its scores.
        long, short = (choice["logprobs"]["token_logprobs"] for choice in answer["choices"])
        assert short[1:4] == pytest.approx(long[1:4], abs=1e-3)
        by_model.setdefault(model, []).append(long[1:-1])
    for same in by_model.values():
        assert same[1] == pytest.approx(same[0], abs=1e-3)
        assert same[2] == pytest.approx(same[0], abs=1e-3)
    medical, code, base = (by_model[model][0] for model in models[:3])
    for one, other in ((medical, code), (medical, base), (code, base)):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.05
