"""One real vLLM with the plugin: LoRAs, prefixes and soft prompts in one batch, equal to PEFT."""

from __future__ import annotations

import contextlib
import itertools
import json
import operator
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.engines.probing import POSITIONS
from adapterworks.registry.bases.store import BaseStore
from tests.gateway.engine_plugin.references import NEW_TOKENS, Maker, Reference
from tests.small_base import MODEL
from tests.warm.python import warm_python

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Position ids are not supported"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`"),
]

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONNECTOR = {
    "kv_connector": "PrefixConnector",
    "kv_role": "kv_consumer",
    "kv_connector_module_path": "adapterworks.gateway.engine_plugin.prefix_connector",
}
# Blocks of 128 tokens, one of them vLLM's own: few enough that requests preempt one another.
BLOCKS = 12
# The prompt of one word 140 times is badly conditioned: noise of 1e-6 on its embeddings moves the
# scores that Hugging Face gives it for the base by 7.5e-4 nats, most where the engine's are off.
REPEATED = 2


@dataclass(frozen=True)
class Running:
    """The engine, the adapters and where it listens."""

    url: str
    maker: Maker
    references: list[Reference]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, with the status under `status` when it is an error."""
        with contextlib.closing(self.open(path, body)) as answer:
            return {**json.loads(answer.read()), "status": answer.status}

    def open(self, path: str, body: dict[str, Any]) -> Any:
        """The raw answer."""
        data = json.dumps({"model": "base", **body}).encode()
        request = urllib.request.Request(
            self.url + path, data, {"content-type": "application/json"}
        )
        try:
            return urllib.request.urlopen(request, timeout=300)
        except urllib.error.HTTPError as error:
            return error

    def named(self, name: str) -> Reference:
        """One adapter."""
        return next(r for r in self.references if r.name == name)


@pytest.fixture(scope="module")
def server(either_bases: BaseStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """vLLM's own server, its slots filled with four LoRAs."""
    base = either_bases.ensure(MODEL)
    folder = tmp_path_factory.mktemp("engine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = {
        "model": base.served,
        "served-model-name": "base",
        "host": "127.0.0.1",
        "port": port,
        "dtype": "float32",
        "max-model-len": 1024,
        "max-num-seqs": 32,
        "max-lora-rank": 16,
        "max-loras": 4,
        "max-cpu-loras": 4,
        # Fewer than the longest prompt has: it is prefilled in chunks, beside others.
        "max-num-batched-tokens": 96,
        "num-gpu-blocks-override": BLOCKS,
        "kv-transfer-config": json.dumps(CONNECTOR),
    }
    flags = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    flags += ["--enable-lora", "--enable-prompt-tokens-details"]
    log = (folder / "engine.log").open("wb")
    process = subprocess.Popen(
        [warm_python("engine"), "-m", "vllm.entrypoints.openai.api_server", *flags],
        stdout=log,
        stderr=log,
        env={
            **os.environ,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "ADAPTERS_SERVABLES": str(folder / "servables"),
        },
    )
    try:
        maker = Maker(base, folder, folder / "servables")
        references = [
            maker.plain(),
            maker.lora("lora-all", 16, ALL),
            maker.lora("lora-attention", 4, ["q_proj", "v_proj"]),
            maker.lora("lora-mlp", 8, ["gate_proj", "down_proj"]),
            maker.lora("lora-head", 8, [*ALL, "lm_head"]),
            maker.soft("prefix", 5),
            maker.soft("prefix", 150),
            maker.soft("prompt", 12),
        ]
        running = Running(f"http://127.0.0.1:{port}", maker, references)
        _await(running, process, folder / "engine.log")
        for reference in references:
            if reference.lora is not None:
                body = {"lora_name": reference.name, "lora_path": str(reference.lora)}
                with contextlib.closing(running.open("/v1/load_lora_adapter", body)) as answer:
                    assert answer.status == 200, answer.read()
        yield running
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _await(running: Running, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(running.url + "/health"):
            return
        time.sleep(0.5)
    raise AssertionError("the engine did not start")


def _ask(running: Running, reference: Reference, number: int) -> tuple[str, dict[str, Any]]:
    body = {
        "prompt": running.maker.prompts[number],
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": 1,
        "return_token_ids": True,
        **reference.address,
    }
    answer = running.post("/v1/completions", body)
    assert answer["status"] == 200, f"{reference.name}, prompt {number}: {answer}"
    return f"{reference.name}, prompt {number}", answer


def _scored(
    running: Running, reference: Reference, number: int, positions: list[int] | None
) -> list[dict[str, Any]]:
    """The prompt's own scores, at all positions or at some."""
    asked: dict[str, Any] = {"prompt_logprobs": 2}
    if positions is not None:
        asked = {"logprobs": 2, "vllm_xargs": {POSITIONS: positions}}
    prompt = running.maker.prompts[number]
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, **asked, **reference.address}
    answer = running.post("/v1/completions", body)
    assert answer["status"] == 200, f"{reference.name}, prompt {number}: {answer}"
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    first, *scores = answer["choices"][0]["prompt_logprobs"]
    assert first is None
    return scores


def test_every_form_scores_prompts_as_peft_does_in_one_batch(server: Running) -> None:
    """Stock vLLM ends here: `einsum(): subscript b has size 2 … which does not broadcast`.

    Twice, since what is in the prefix cache the second time must be computed all the same; all of
    the positions, and some, of requests that are in one batch with each other and with answers.
    """
    pairs = [(r, n) for n in range(len(server.maker.prompts)) for r in server.references]
    asked = [(r, n, whole) for whole in (True, False, True) for r, n in pairs]
    some = [[1, len(ids) // 2, len(ids) - 1] for ids in server.maker.prompts]
    with ThreadPoolExecutor(2 * len(pairs)) as threads:
        beside = [threads.submit(_ask, server, r, 0) for r in server.references]
        answers = list(
            threads.map(
                lambda one: _scored(server, one[0], one[1], None if one[2] else some[one[1]]), asked
            )
        )
        assert all(one.result() for one in beside)
    for (reference, number, whole), got in zip(asked, answers, strict=True):
        name, prompt = f"{reference.name}, prompt {number}", server.maker.prompts[number]
        want = reference.answers[number]
        positions = list(range(1, len(prompt))) if whole else some[number]
        within = 2e-2 if number == REPEATED else 5e-4
        assert len(got) == len(positions), name
        for at, position in zip(got, positions, strict=True):
            own, best = at[str(prompt[position])], at[str(want.likeliest[position - 1])]
            assert own["logprob"] == pytest.approx(want.prompt[position - 1], abs=within), name
            assert best["rank"] == 1, name


@pytest.mark.parametrize("positions", [[], [0, 1], [2, 1], [1, 1], [1, 99], ["1"]])
def test_positions_that_a_prompt_has_not_are_refused(server: Running, positions: list[Any]) -> None:
    body = {"prompt": [5, 6, 7], "max_tokens": 1, "vllm_xargs": {POSITIONS: positions}}
    answer = server.post("/v1/completions", body)
    assert answer["status"] == 400
    assert "ascending indices from 1 to 2" in answer["error"]["message"]


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_every_form_equals_peft_in_one_batch(server: Running, cache: str) -> None:
    """Prefix caching is on: the second time, blocks are reused within an adapter, never across."""
    pairs = [(r, n) for n in range(len(server.maker.prompts)) for r in server.references]
    with ThreadPoolExecutor(len(pairs)) as threads:
        answers = dict(threads.map(lambda pair: _ask(server, *pair), pairs))
    for reference, number in pairs:
        name = f"{reference.name}, prompt {number}"
        want, got = reference.answers[number], answers[name]["choices"][0]
        assert got["token_ids"] == want.tokens, f"{name}, {cache}"
        assert got["logprobs"]["token_logprobs"] == pytest.approx(want.logprobs, abs=1e-3), name
        usage = answers[name]["usage"]
        assert usage["prompt_tokens"] == len(server.maker.prompts[number]), name
        cached = (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0
        assert 0 <= cached <= usage["prompt_tokens"], name


def test_adapters_differ_from_the_base_and_one_another(server: Running) -> None:
    """Otherwise the comparison above would prove nothing."""
    for one, other in itertools.combinations(server.references, 2):
        assert any(
            a.tokens != b.tokens or max(map(abs, map(operator.sub, a.logprobs, b.logprobs))) > 0.05
            for a, b in zip(one.answers, other.answers, strict=True)
        ), (one.name, other.name)


@pytest.mark.parametrize("name", ["prefix-150", "prompt-12"])
def test_chat_streams_and_counts_only_the_clients_tokens(server: Running, name: str) -> None:
    reference, ids = server.named(name), server.maker.prompts[-1]
    body = {
        "messages": [{"role": "user", "content": "Say hello"}],
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        **reference.address,
    }
    with contextlib.closing(server.open("/v1/chat/completions", body)) as answer:
        lines = answer.read().decode().splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    tokens = [t for e in events for c in e["choices"] for t in c.get("token_ids") or []]
    assert tokens == reference.answers[-1].tokens
    assert events[-1]["usage"]["prompt_tokens"] == len(ids)
    assert events[-1]["usage"]["completion_tokens"] == NEW_TOKENS


def test_several_answers_to_one_prompt(server: Running) -> None:
    body = {"prompt": server.maker.prompts[0], "n": 3, "max_tokens": 4, "top_k": 1}
    answer = server.post("/v1/completions", {**body, **server.named("prefix-5").address})
    texts = {choice["text"] for choice in answer["choices"]}
    assert len(answer["choices"]) == 3
    assert len(texts) == 1
    assert answer["usage"]["prompt_tokens"] == len(server.maker.prompts[0])


def test_preempted_requests_get_their_prefix_again(server: Running) -> None:
    """Each fills a block with its prefix and prompt, and needs a second one after five tokens."""
    body = {"max_tokens": 10, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    body |= server.named("prefix-5").address

    def ask(number: int) -> list[int]:
        prompt = [1000 + number, *range(2000, 2117)]
        answer = server.post("/v1/completions", {**body, "prompt": prompt})
        tokens: list[int] = answer["choices"][0]["token_ids"]
        return tokens

    alone = ask(0)
    before = _preemptions(server)
    for _ in range(20):  # on a busy machine they may come one after the other
        with ThreadPoolExecutor(BLOCKS) as threads:
            together = list(threads.map(ask, range(BLOCKS)))
        assert together[0] == alone
        if _preemptions(server) > before:
            break
    else:
        pytest.fail("nothing was preempted")


def _preemptions(server: Running) -> float:
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        found = re.search(r"^vllm:num_preemptions_total\{.*\} (\S+)$", answer.read().decode(), re.M)
    assert found
    return float(found.group(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_transfer_params": {"adapter_digest": "e" * 64}}, "no virtual tokens"),
        ({"kv_transfer_params": {"adapter_digest": "../../etc"}}, "not a sha256 digest"),
        ({"kv_transfer_params": {"adapter_digest": 5}}, "not a sha256 digest"),
        ({"prompt": [5] * 900}, "leave no room"),
        ({"model": "lora-all"}, "cannot be combined"),
    ],
)
def test_what_cannot_be_answered_is_a_bad_request(
    server: Running, change: dict[str, Any], message: str
) -> None:
    body = {"prompt": [5, 6], "max_tokens": 2, **server.named("prefix-150").address, **change}
    answer = server.post("/v1/completions", body)
    assert answer["status"] == 400
    assert message in answer["error"]["message"]


def test_the_answer_ends_where_the_context_with_virtual_tokens_does(server: Running) -> None:
    body = {"prompt": [5] * 866, "max_tokens": 100, "ignore_eos": True, "temperature": 0}
    answer = server.post("/v1/completions", {**body, **server.named("prefix-150").address})
    assert answer["usage"]["completion_tokens"] == 1024 - 150 - 866
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_damaged_file_fails_its_own_request_only(server: Running) -> None:
    body = {"prompt": [5, 6], "max_tokens": 2, **server.maker.damaged(server.named("prefix-5"))}
    assert server.post("/v1/completions", body)["status"] >= 500
    name, answer = _ask(server, server.named("prefix-5"), 0)
    assert answer["choices"][0]["token_ids"] == server.named("prefix-5").answers[0].tokens, name
