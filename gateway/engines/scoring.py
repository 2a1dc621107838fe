"""What an engine says of a probe: log-probabilities at its positions, and the tokens they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any

from adapterworks.gateway.engines.engine import Probe, Scores

TOP = 20
_OTHERWISE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


class NoScores(ValueError):
    """The answer is no completion, or one of something else; the message says so."""


def of_prompt(answer: Any, probe: Probe) -> tuple[list[Scores], int] | None:
    """What a prefill of a probe says; None if the engine does not know what is asked.

    Raises:
        NoScores: it cannot be read.
    """
    try:
        (choice,) = answer["choices"]
        told = choice.get("prompt_logprobs")
        if told is None:
            return None
        # The likeliest alone: the prompt's own token is told too, however unlikely it is, and
        # would be taken for what the engine thinks least likely of those.
        scores = [
            {int(k): float(e["logprob"]) for k, e in at.items() if e["rank"] <= TOP}
            for at in told[1:]
        ]
        cost = int(answer["usage"]["total_tokens"])
    except _OTHERWISE as error:
        raise NoScores("what it answered to a probe is no completion") from error
    return _sound(scores, len(probe.positions)), max(0, cost)


def of_answers(answer: Any, positions: int) -> tuple[list[Scores], int]:
    """What one generated token a position says, in the order of the prompts.

    Raises:
        NoScores: it cannot be read.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        scores = [
            {
                int(token.removeprefix("token_id:")): float(logprob)
                for token, logprob in choice["logprobs"]["top_logprobs"][0].items()
            }
            for choice in choices
        ]
        cost = int(answer["usage"]["total_tokens"])
    except _OTHERWISE as error:
        raise NoScores("what it answered to a probe is no completion") from error
    return _sound(scores, positions), max(0, cost)


def _sound(scores: list[Scores], positions: int) -> list[Scores]:
    """Scores that can be compared: some at each position, and all of them numbers.

    Raises:
        NoScores: they are not.
    """
    if len(scores) != positions:
        raise NoScores("it scored other positions than a probe asked for")
    if not all(at and all(map(isfinite, at.values())) for at in scores):
        raise NoScores("what it answered to a probe are no log-probabilities")
    return scores


class AskedOnce:
    """A yes or no that an engine is asked for once, however many want to know it at the same time.

    Args:
        ask: asks the engine; what it raises is told to those who wait, and asked again by the next.
    """

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._answer: asyncio.Future[bool] | None = None

    async def __call__(self) -> bool:
        """The answer, once there is one."""
        answer = self._answer
        if answer is None or (answer.done() and (answer.cancelled() or answer.exception())):
            answer = self._answer = asyncio.ensure_future(self._ask())
        # Shielded: whoever was the first to ask may leave.
        return await asyncio.shield(answer)

    def forget(self) -> None:
        """The engine may be another one now: it is asked again."""
        self._answer = None
