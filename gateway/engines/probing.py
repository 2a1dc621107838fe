"""Probes are put to an engine: a prefill each where it can score prompts, else a token a position.

Invariant: an engine that left something out, or answered something else, is away; it is never taken
for one that knows less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from adapterworks.gateway.engines.engine import Probe, Scores
from adapterworks.gateway.engines.scoring import TOP, AskedOnce, NoScores, of_answers, of_prompt
from adapterworks.manifests.errors import Refused, Unavailable

# As `gateway/engine_plugin/positions.py` has it, which is not for processes without vLLM.
POSITIONS = "adapterworks_positions"
# What an engine is asked first; token ids that every vocabulary has.
_WARM = Probe(tuple(range(3, 40)), (1, 36))
# Has a completion made; raises Refused where the engine takes no such request.
Complete = Callable[[dict[str, Any]], Awaitable[Any]]


class Prober:
    """Puts probes to one engine.

    Args:
        model: the base's name there.
        away: the error of an engine that cannot be asked now, with why.
    """

    def __init__(self, model: str, complete: Complete, away: Callable[[str], Unavailable]) -> None:
        self._model, self._complete, self._away = model, complete, away
        self._scoring = AskedOnce(self._whether_it_scores)

    def forget(self) -> None:
        """What it can is asked anew: it may be another engine now."""
        self._scoring.forget()

    async def can_score_prompts(self) -> bool:
        """Whether it has log-probabilities of a prompt's own tokens; it is asked once.

        With our plugin it has. An engine without it ignores the positions; and with LoRA it must
        not be asked by `prompt_logprobs`, which end it as soon as a batch holds two requests
        (vLLM 0.32).
        """
        return await self._scoring()

    async def score(
        self, fields: Mapping[str, Any], probes: Sequence[Probe]
    ) -> tuple[list[Scores], int]:
        """The log-probabilities at all positions of the probes, and the tokens they cost.

        Args:
            fields: of the request, as whose it is.
        """
        if not await self.can_score_prompts():
            return await self._generate(fields, probes)
        answers = await asyncio.gather(*(self._prefill(fields, probe) for probe in probes))
        if None in answers:
            raise self._away("it left out what a probe asked for")
        together = [answer for answer in answers if answer is not None]
        return [at for some, _ in together for at in some], sum(cost for _, cost in together)

    async def _whether_it_scores(self) -> bool:
        try:
            fields = {"model": self._model, "cache_salt": "warm"}
            return await self._prefill(fields, _WARM) is not None
        except Refused:  # it takes no field that it does not know
            return False

    async def _prefill(
        self, fields: Mapping[str, Any], probe: Probe
    ) -> tuple[list[Scores], int] | None:
        """One probe's scores; None if the engine does not know what is asked."""
        asked = {
            **fields,
            "prompt": list(probe.token_ids),
            "vllm_xargs": {POSITIONS: list(probe.positions)},
        }
        answer = await self._probe(asked)
        try:
            return of_prompt(answer, probe)
        except NoScores as error:
            raise self._away(str(error)) from error

    async def _generate(
        self, fields: Mapping[str, Any], probes: Sequence[Probe]
    ) -> tuple[list[Scores], int]:
        """The same by ordinary generations of one token after each position."""
        prompts = [
            list(probe.token_ids[:position]) for probe in probes for position in probe.positions
        ]
        answer = await self._probe({**fields, "prompt": prompts})
        try:
            return of_answers(answer, len(prompts))
        except NoScores as error:
            raise self._away(str(error)) from error

    async def _probe(self, asked: dict[str, Any]) -> Any:
        return await self._complete(
            {
                **asked,
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": TOP,
                "return_tokens_as_token_ids": True,
            }
        )
