"""The protocol's values are bounded, and Hugging Face does what every engine must."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from adapterworks.builders.engines.choosing import nucleus
from adapterworks.builders.engines.engine import Adapter, Completion, Given, Model, Sampling
from adapterworks.builders.engines.huggingface import HuggingFace
from adapterworks.builders.methods import METHODS
from adapterworks.engines.asking import ask_completions, ask_scores
from adapterworks.manifests.errors import InvalidInput, Unavailable
from tests.builders.build_support import manifest_for
from tests.builders.engines.conformance import exercise

DIGEST = "sha256:" + "a" * 64
PROMPTS = [list(b"to be or not"), list(b"a"), list(b"Rather long, for the others are padded")]


@pytest.fixture(scope="module")
def steep(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with weights so large that its answers depend on every position, and with
    settings of its own that would draw its answers."""
    folder = tmp_path_factory.mktemp("steep")
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(12)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=5.0, eos_token_id=1, pad_token_id=1
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["lora", "prompt-tuning", "prefix-tuning"])
def test_hugging_face_does_what_every_engine_must(steep: Path, kind: str, tmp_path: Path) -> None:
    manifest = manifest_for(kind)
    model = METHODS[kind].attach(AutoModelForCausalLM.from_pretrained(steep), manifest.method, 1)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    engine = HuggingFace().open(
        Model(DIGEST, "tiny", steep), [Adapter(DIGEST, tmp_path)], longest=64
    )
    exercise(engine, DIGEST, PROMPTS)
    engine.close()


def test_greedy_is_greedy_whatever_the_checkpoint_says(steep: Path, tmp_path: Path) -> None:
    """A penalty in its `generation_config.json` gave other answers: unset fields are filled in."""
    shutil.copytree(steep, tmp_path / "penalized")
    path = tmp_path / "penalized" / "generation_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1}))
    asked = [
        HuggingFace()
        .open(Model(DIGEST, "tiny", folder), [], longest=64)
        .complete(PROMPTS, Sampling(24, stop=(1,)))
        for folder in (steep, path.parent)
    ]
    assert asked[0] == asked[1]


def test_an_engine_over_http_takes_nothing_of_the_checkpoint_either() -> None:
    bodies = []

    async def post(body: bytes) -> tuple[int, bytes]:
        bodies.append(json.loads(body))
        return 500, b"enough"

    given = ([[1, 2]], Sampling(3), 1, None)
    with pytest.raises(Unavailable):
        asyncio.run(ask_completions(post, {}, *given))
    with pytest.raises(Unavailable):
        asyncio.run(ask_scores(post, {}, [Given((1, 2), 1)], 1, None))
    neutral = {"repetition_penalty": 1.0, "top_k": 0, "min_p": 0.0}
    for body in bodies:
        assert neutral.items() <= body.items()
        assert body["presence_penalty"] == body["frequency_penalty"] == 0.0
    assert len(bodies) == 2


def test_each_prompt_is_drawn_from_a_seed_of_its_own() -> None:
    """vLLM seeds answer i of every prompt of a request with the request's seed + i: together they
    would all be drawn by the same random numbers."""
    bodies: list[dict[str, Any]] = []

    async def post(body: bytes) -> tuple[int, bytes]:
        bodies.append(json.loads(body))
        one = {"token_ids": [5], "logprobs": {"token_logprobs": [-0.1]}, "finish_reason": "stop"}
        count = len(bodies[-1]["prompt"]) * bodies[-1]["n"]
        return 200, json.dumps({"choices": [{**one, "index": i} for i in range(count)]}).encode()

    def ask(sampling: Sampling, prompts: list[list[int]]) -> list[tuple[list[list[int]], int]]:
        bodies.clear()
        asyncio.run(ask_completions(post, {}, prompts, sampling, 64, None))
        return [(body["prompt"], body["seed"]) for body in bodies]

    prompts = [[1, 2], [3], [1, 2]]
    drawn = Sampling(3, temperature=1.0, n=4, seeds=(1024, 2048, 7168))
    assert sorted(ask(drawn, prompts)) == [([[1, 2]], 1024), ([[1, 2]], 7168), ([[3]], 2048)]
    seeded = Sampling(3, temperature=1.0, n=4, seed=7)
    by_prompt = {str(prompt): seed for prompt, seed in ask(seeded, prompts)}
    assert len({*by_prompt.values()}) == 2
    again = {str(prompt): seed for prompt, seed in ask(seeded, prompts[1:])}
    assert again == by_prompt, "what else is asked is nobody's seed"
    assert all(seed % 1024 == 0 for seed in by_prompt.values())
    assert len(ask(Sampling(3), prompts)) == 1, "greedy answers are asked for together"
    with pytest.raises(InvalidInput):
        Sampling(3, temperature=1.0, seeds=(-1,))
    assert "seeds" not in Sampling(3).to_json()
    assert drawn.to_json()["seeds"] == [1024, 2048, 7168]


def test_a_drawn_token_is_one_of_the_nucleus() -> None:
    """Shares 0.5, 0.3, 0.2: up to 0.7 the first two are needed, up to 0.5 the first alone."""
    shares = torch.tensor([[0.2, 0.5, 0.3]])
    assert nucleus(shares, 0.7).tolist() == torch.tensor([[0.0, 0.5, 0.3]]).tolist()
    assert nucleus(shares, 0.5).tolist() == [[0.0, 0.5, 0.0]]
    assert nucleus(shares, 1e-9).tolist() == [[0.0, 0.5, 0.0]]


def test_draws_have_the_models_shares(steep: Path) -> None:
    """Of 600 first tokens at a low temperature, the likeliest come as often as they should."""
    engine = HuggingFace().open(Model(DIGEST, "tiny", steep), [], longest=64)
    temperature, n = 0.5, 600
    (drawn,) = engine.complete(PROMPTS[:1], Sampling(1, temperature=temperature, n=n, seed=3))
    counts = np.bincount([answer.token_ids[0] for answer in drawn], minlength=258)
    given = [Given((*PROMPTS[0], token), len(PROMPTS[0])) for token in range(258)]
    logprobs = np.concatenate(engine.score(given, batch_size=258))
    shares = np.exp(logprobs / temperature)
    shares /= shares.sum()
    expected = n * shares
    # A χ² statistic over the bins with enough expected draws: mean k, standard deviation √(2k).
    often = expected >= 5
    assert often.sum() >= 5
    statistic = float((((counts - expected) ** 2) / expected)[often].sum())
    assert statistic < often.sum() + 5 * np.sqrt(2 * often.sum())


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": 0},
        {"max_tokens": 1, "temperature": -0.1},
        {"max_tokens": 1, "temperature": float("nan")},
        {"max_tokens": 1, "temperature": 0.005},
        {"max_tokens": 1, "temperature": 2.5},
        {"max_tokens": 1, "top_p": 0.0},
        {"max_tokens": 1, "top_p": 1.5},
        {"max_tokens": 1, "n": 0, "temperature": 1.0},
        {"max_tokens": 1, "n": 2},
        {"max_tokens": 1, "seed": -1},
        {"max_tokens": 1, "stop": (-1,)},
    ],
)
def test_what_is_out_of_bounds_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Sampling(**values)


def test_the_first_token_cannot_be_scored() -> None:
    with pytest.raises(InvalidInput):
        Given((1, 2), 0)
    with pytest.raises(InvalidInput):
        Given((1, 2), 3)
    assert Given((1, 2), 2).scored == ()
    assert Given((1,), 1).scored == ()


def test_the_token_that_ended_an_answer_is_not_part_of_it() -> None:
    assert Completion((5, 6, 2), (0.0,) * 3, "stop").answer == (5, 6)
    assert Completion((5, 6, 2), (0.0,) * 3, "length").answer == (5, 6, 2)
