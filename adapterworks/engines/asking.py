"""Completions with token ids asked of vLLM's `/v1/completions`, directly or through a gateway.

Given tokens are scored as a proof is taken (docs/adr/0007): one token is generated after each
prefix, and the log-probability of the given one is asked for by its id. `prompt_logprobs` would be
one request a sequence, but with LoRA switched on vLLM 0.32 dies of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.engine import Completion, Given, Ids, Progress, Sampling
from adapterworks.manifests.errors import Refused, Unavailable

# Sends a body to `/v1/completions`; returns status and body of the answer.
Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
# Prompts of one request; small, so that progress is seen.
_PROMPTS = 16
# Token ids whose log-probabilities one request may ask for: vLLM's `--max-logprobs` by default.
_IDS = 20
_KEY = "token_id:"
# Tokens of a block of the engine's prefix cache: what of a prefix fills none is computed again.
BLOCKS: dict[str, int] = {"cpu": 128, "cuda": 16}
# What the engine would else take from the checkpoint's `generation_config.json`: greedy is greedy,
# and a draw has the model's own shares.
_NOTHING_OF_THE_CHECKPOINT = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
# Tokens computed to score sequences, over the tokens that the sequences have: more than this, and
# the reference implementation is done long before.
_BEARABLE = 16


async def ask_completions(
    post: Post,
    fields: dict[str, Any],
    prompts: Sequence[Ids],
    sampling: Sampling,
    parallel: int,
    progress: Progress | None,
    *,
    at_once: int = _PROMPTS,
) -> list[tuple[Completion, ...]]:
    """`sampling.n` answers to each prompt, in their order.

    Args:
        fields: what a request says of whom it asks.
        parallel: answers in the making at once.
        at_once: answers that one request asks for, or `sampling.n` where that is more.
    """
    common = {
        **fields,
        **_NOTHING_OF_THE_CHECKPOINT,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "n": sampling.n,
        # Only what was asked for ends an answer.
        "ignore_eos": True,
        "stop_token_ids": list(sampling.stop),
        "skip_special_tokens": False,
        "logprobs": 0,  # the chosen token's own
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    # One request at a time has answers of like length in it: they are longest where prompts are.
    size = max(1, min(_PROMPTS, at_once // sampling.n, parallel // sampling.n))
    if not sampling.greedy:
        size = 1  # a request has one seed, and each of its prompts would be drawn from it
    chunks = [range(at, min(at + size, len(prompts))) for at in range(0, len(prompts), size)]
    answers: list[tuple[Completion, ...]] = [()] * len(prompts)

    async def ask(chunk: range) -> int:
        seed = sampling.seed_to(chunk[0], prompts[chunk[0]])
        body = {**common, "seed": seed, "prompt": [list(prompts[index]) for index in chunk]}
        choices = await _choices(post, body, len(chunk) * sampling.n)
        for line, index in enumerate(chunk):
            own = choices[line * sampling.n : (line + 1) * sampling.n]
            answers[index] = tuple(_completion(choice) for choice in own)
        return len(chunk)

    await _all(chunks, ask, max(1, parallel // (size * sampling.n)), len(prompts), progress)
    return answers


async def ask_scores(
    post: Post,
    fields: dict[str, Any],
    sequences: Sequence[Given],
    parallel: int,
    progress: Progress | None,
    *,
    at_once: int = _IDS,
) -> list[NDArray[np.float64]]:
    """Log-probabilities of each sequence's scored tokens.

    Args:
        fields, parallel: as in `ask_completions`.
        at_once: prompts of one request, 20 at most.
    """
    result = [np.zeros(len(given.scored)) for given in sequences]
    # Positions of one sequence together: each prefix finds its beginning in the engine's cache.
    chunks = [
        (line, range(at, min(at + at_once, len(given.token_ids))))
        for line, given in enumerate(sequences)
        for at in range(given.start, len(given.token_ids), at_once)
    ]
    left = [0] * len(sequences)
    for line, _ in chunks:
        left[line] += 1

    async def ask(chunk: tuple[int, range]) -> int:
        line, positions = chunk
        given = sequences[line]
        wanted = list(dict.fromkeys(given.token_ids[at] for at in positions))
        body = {
            **fields,
            **_NOTHING_OF_THE_CHECKPOINT,
            "prompt": [list(given.token_ids[:at]) for at in positions],
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": len(wanted),
            "logprob_token_ids": wanted,
            "return_tokens_as_token_ids": True,
        }
        for at, choice in zip(positions, await _choices(post, body, len(positions)), strict=True):
            top = choice["logprobs"]["top_logprobs"][0]
            result[line][at - given.start] = top[f"{_KEY}{given.token_ids[at]}"]
        left[line] -= 1
        return int(left[line] == 0)

    await _all(chunks, ask, max(1, parallel // at_once), len(sequences), progress)
    return result


def bearable(sequences: Sequence[Given], *, block: int | None) -> bool:
    """Whether `ask_scores` computes at most 16 times the tokens that one pass would.

    Args:
        block: tokens of a block of the prefix cache; None where it is not known: nothing is cached.
    """
    plain = sum(len(given.token_ids) for given in sequences)
    computed = sum(
        at if block is None else at % block + (at if at == given.start else 0)
        for given in sequences
        for at in range(given.start, len(given.token_ids))
    )
    return computed <= _BEARABLE * plain


async def _all(
    chunks: Sequence[Any],
    ask: Callable[[Any], Awaitable[int]],
    width: int,
    total: int,
    progress: Progress | None,
) -> None:
    """Ask for all chunks, `width` at a time; the first error ends the others."""
    waiting, done = iter(chunks), 0

    async def work() -> None:
        nonlocal done
        for chunk in waiting:
            done += await ask(chunk)
            if progress:
                progress(done, total)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _choices(post: Post, body: dict[str, Any], expected: int) -> list[dict[str, Any]]:
    """The answer's choices in the order of the prompts.

    Raises:
        Refused: the engine does not accept the request.
        Unavailable: it failed.
    """
    status, data = await post(json.dumps(body).encode())
    if status != 200:
        text = " ".join(data.decode("utf-8", "replace").split())[:300]
        if status >= 500 or status == 429:
            raise Unavailable(f"the engine failed to answer ({status}): {text}")
        raise Refused(f"the engine refused a request ({status}): {text}")
    choices: list[dict[str, Any]] = sorted(
        json.loads(data)["choices"], key=lambda choice: int(choice["index"])
    )
    if len(choices) != expected:
        raise Unavailable(f"the engine gave {len(choices)} answers to {expected} prompts")
    return choices


def _completion(choice: dict[str, Any]) -> Completion:
    ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    if len(ids) != len(logprobs):
        raise Unavailable(f"the engine gave {len(ids)} tokens and {len(logprobs)} probabilities")
    reason = choice["finish_reason"]
    if reason not in ("stop", "length"):  # `abort`, say: a part of an answer is none
        raise Unavailable(f"the engine broke an answer off (`{reason}`)")
    ended = reason == "stop"
    return Completion(tuple(ids), tuple(logprobs), "stop" if ended else "length")
