"""Prompts → pairs of answers, one of them preferred, by a model under a constitution.

    answer → critique → revision → which of both is better, in both orders

after Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), but for one thing: the pairs are an
answer and its revision, and not two samples, so that each row shows what the principle changed.
Where the judge contradicts itself when the order is exchanged it abstains, and there is no row.

Invariant: a row has been preferred in both orders; what was cut or says nothing is no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.endpoints.asking import PARALLEL
from adapterworks.builders.endpoints.chat import Answer
from adapterworks.builders.endpoints.comparing import preferred, read_verdict
from adapterworks.builders.synthesis.constitution import Constitution, Principle
from adapterworks.builders.synthesis.making import Asking, Turn
from adapterworks.builders.synthesis.questions import Prompt
from adapterworks.builders.synthesis.revising import (
    answering,
    criticising,
    preferring,
    prompt_digest,
    revising,
)
from adapterworks.manifests.digests import digest_json

FIRST, REVISION = "first", "revision"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    Attributes:
        rounds: revisions of an answer, each under another principle.
        answer_tokens: longest answer and revision.
        temperature: of first answers.
        seed: of first answers, and of which principle comes to which prompt.
    """

    rounds: int = 1
    answer_tokens: int = 512
    temperature: float = 0.7
    seed: int = 0


@dataclass(slots=True)
class _Draft:
    """A prompt on its way."""

    prompt: Prompt
    principles: list[Principle]
    first: str = ""
    now: str = ""
    critiques: list[str] = field(default_factory=list)


class Constitutional:
    """Answers that are criticised and revised under principles; the writer judges them too where no
    judge is named.

    Args:
        at_once: prompts that are asked together.
    """

    name = "constitutional"
    reasons = ("empty", "cut", "unchanged", "tied", "abstained")

    def __init__(
        self, constitution: Constitution, settings: Settings, at_once: int = PARALLEL
    ) -> None:
        self.constitution, self.settings, self.at_once = constitution, settings, at_once

    def turn(self, items: Sequence[Prompt], asking: Asking) -> Turn:
        """The pairs of some prompts; those that the budget leaves unasked go no further."""
        drafts = [
            _Draft(one, principles_of(one, self.constitution, self.settings)) for one in items
        ]
        begun, going = self._answered(drafts, asking)
        for number in range(self.settings.rounds):
            going = self._revised(going, number, asking)
        return Turn(
            begun,
            [self._row(draft, better, asking) for draft, better in self._judged(going, asking)],
        )

    def _answered(self, drafts: list[_Draft], asking: Asking) -> tuple[int, list[_Draft]]:
        settings = self.settings
        chats = [
            answering(one.prompt, settings.answer_tokens, settings.temperature, settings.seed)
            for one in drafts
        ]
        said = asking.write(chats)
        going = []
        for draft, one in zip(drafts, said, strict=False):
            if _is_answer(one, asking):
                draft.first = draft.now = one.text.strip()
                going.append(draft)
        return len(said), going

    def _revised(self, drafts: list[_Draft], number: int, asking: Asking) -> list[_Draft]:
        going = [draft for draft in drafts if number < len(draft.principles)]
        done = [draft for draft in drafts if number >= len(draft.principles)]
        said = asking.write(
            [criticising(one.prompt, one.now, one.principles[number]) for one in going]
        )
        criticised = [
            (draft, one) for draft, one in zip(going, said, strict=False) if _is_said(one, asking)
        ]
        for draft, one in criticised:
            draft.critiques.append(one.text.strip())
        chats = [
            revising(
                draft.prompt,
                draft.now,
                draft.critiques[-1],
                draft.principles[number],
                self.settings.answer_tokens,
            )
            for draft, _ in criticised
        ]
        for (draft, _), one in zip(criticised, asking.write(chats), strict=False):
            if _is_answer(one, asking):
                draft.now = one.text.strip()
                done.append(draft)
        return done

    def _judged(self, drafts: list[_Draft], asking: Asking) -> list[tuple[_Draft, int]]:
        """Those with a better answer: 1 where it is the revision, −1 where it is the first."""
        changed = [draft for draft in drafts if draft.now != draft.first]
        asking.leave_out("unchanged", len(drafts) - len(changed))
        chats = [
            chat
            for draft in changed
            for chat in preferring(draft.prompt, draft.now, draft.first, draft.principles)
        ]
        verdicts = [read_verdict(one.text) for one in asking.judged(chats)]
        found = []
        # A pair that was asked in one order alone is left out with the budget.
        for draft, pair in zip(
            changed, zip(verdicts[::2], verdicts[1::2], strict=False), strict=False
        ):
            better = preferred(pair)
            if better:
                found.append((draft, better))
            else:
                asking.leave_out("abstained" if better is None else "tied")
        return found

    def _row(self, draft: _Draft, better: int, asking: Asking) -> Row:
        revised, first = _said(draft.now), _said(draft.first)
        chosen, rejected = (revised, first) if better > 0 else (first, revised)
        return Row(
            (*draft.prompt, chosen),
            {
                "strategy": self.name,
                "principle": [principle.name for principle in draft.principles],
                "critique": draft.critiques,
                "chosen_is": REVISION if better > 0 else FIRST,
                "constitution": self.constitution.name,
                "constitution_digest": self.constitution.digest,
                "model": asking.writer.name,
                "judge": (asking.judge or asking.writer).name,
                "prompt_digest": prompt_digest(draft.principles),
            },
            others=((rejected,),),
        )


def principles_of(
    prompt: Prompt, constitution: Constitution, settings: Settings
) -> list[Principle]:
    """A prompt's principles, in their order: by its digest, whatever stands around it."""
    left = [*constitution.principles]
    drawn = []
    for number in range(min(settings.rounds, len(left))):
        digest = digest_json({"prompt": list(prompt), "seed": settings.seed, "round": number})
        drawn.append(left.pop(int(digest.removeprefix("sha256:")[:12], 16) % len(left)))
    return drawn


def _is_answer(said: Answer, asking: Asking) -> bool:
    if said.cut:
        asking.leave_out("cut")
        return False
    return _is_said(said, asking)


def _is_said(said: Answer, asking: Asking) -> bool:
    if not said.text.strip():
        asking.leave_out("empty")
        return False
    return True


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}
