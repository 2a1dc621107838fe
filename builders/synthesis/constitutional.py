"""Prompts → pairs of answers, one of them preferred, by a model under a constitution.

    answer → critique → revision → which of both is better, in both orders

after Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), but for one thing: the pairs are an
answer and its revision, and not two samples, so that each row shows what the principle changed.
Where the judge contradicts itself when the order is exchanged it abstains, and there is no row.

Invariant: a function of prompts, constitution, settings and answers, in the order of the prompts;
so a run that was killed and goes on with the same answers ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.endpoints.asking import PARALLEL, Chat, Said
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.comparing import preferred, read_verdict
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.kept import KeptAnswers
from adapterworks.builders.synthesis.constitution import Constitution, Principle
from adapterworks.builders.synthesis.questions import Prompt
from adapterworks.builders.synthesis.revising import (
    answering,
    criticising,
    preferring,
    prompt_digest,
    revising,
)
from adapterworks.manifests.digests import digest_json

# Why a prompt gave no row.
REASONS = ("empty", "cut", "unchanged", "tied", "abstained")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    Attributes:
        max_tokens: of prompts and answers, for both models together; never exceeded.
        rounds: revisions of an answer, each under another principle.
        answer_tokens: longest answer and revision.
        temperature: of first answers.
        seed: of first answers, and of which principle comes to which prompt.
        parallel: requests at once.
    """

    max_tokens: int
    rounds: int = 1
    answer_tokens: int = 512
    temperature: float = 0.7
    seed: int = 0
    parallel: int = PARALLEL


@dataclass(slots=True)
class Pairs:
    """What came of it.

    Attributes:
        prompts: how many were answered.
        tokens: of the budget, answers that were kept from before included.
        left_out: prompts without a row, by reason (`REASONS`).
        kept_first: rows in which the first answer is the better one.
        spent: whether the budget ended it.
    """

    rows: list[Row] = field(default_factory=list)
    prompts: int = 0
    tokens: int = 0
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    kept_first: int = 0
    spent: bool = False


@dataclass(slots=True)
class _Draft:
    """A prompt on its way."""

    prompt: Prompt
    principles: list[Principle]
    first: str = ""
    now: str = ""
    critiques: list[str] = field(default_factory=list)


def constitute(
    prompts: Sequence[Prompt],
    constitution: Constitution,
    model: Endpoint,
    judge: Endpoint,
    settings: Settings,
    kept: KeptAnswers,
    *,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Make rows of preferences.

    Args:
        model: answers, criticises and revises.
        judge: says which answer is better; may be the same.
        kept: what was said before is not asked again, and counts in the budget as if it were.
        most: end with so many rows.
        progress: called with prompts done and prompts in all.

    Raises:
        Refused, Unavailable: an endpoint refuses, or does not answer; what it said is kept.
    """
    made, budget = Pairs(), Budget(settings.max_tokens)
    while made.prompts < len(prompts) and not budget.spent:
        some = prompts[made.prompts : made.prompts + settings.parallel]
        drafts = [_Draft(one, principles_of(one, constitution, settings)) for one in some]
        asked = _Asking(model, judge, settings, kept, budget, made)
        going = asked.answered(drafts)
        answered = asked.reached
        for number in range(settings.rounds):
            going = asked.revised(going, number)
        judged = asked.judged(going)
        made.rows += [_row(draft, better, constitution, model, judge) for draft, better in judged]
        made.kept_first += sum(better < 0 for _, better in judged)
        made.prompts += answered
        if progress:
            progress(made.prompts, len(prompts))
        if most is not None and len(made.rows) >= most:
            del made.rows[most:]
            break
    made.tokens, made.spent = budget.tokens, budget.spent
    return made


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


@dataclass(slots=True)
class _Asking:
    """The questions of one turn of prompts; those that the budget leaves unasked go no further."""

    model: Endpoint
    judge: Endpoint
    settings: Settings
    kept: KeptAnswers
    budget: Budget
    made: Pairs
    reached: int = 0

    def answered(self, drafts: list[_Draft]) -> list[_Draft]:
        settings = self.settings
        chats = [
            answering(one.prompt, settings.answer_tokens, settings.temperature, settings.seed)
            for one in drafts
        ]
        said = self._ask(self.model, chats)
        self.reached = len(said)
        going = []
        for draft, one in zip(drafts, said, strict=False):
            if self._is_answer(one):
                draft.first = draft.now = one.text.strip()
                going.append(draft)
        return going

    def revised(self, drafts: list[_Draft], number: int) -> list[_Draft]:
        going = [draft for draft in drafts if number < len(draft.principles)]
        done = [draft for draft in drafts if number >= len(draft.principles)]
        chats = [criticising(one.prompt, one.now, one.principles[number]) for one in going]
        said = self._ask(self.model, chats)
        criticised = [
            (draft, one) for draft, one in zip(going, said, strict=False) if self._is_said(one)
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
        for (draft, _), one in zip(criticised, self._ask(self.model, chats), strict=False):
            if self._is_answer(one):
                draft.now = one.text.strip()
                done.append(draft)
        return done

    def judged(self, drafts: list[_Draft]) -> list[tuple[_Draft, int]]:
        """Those with a better answer: 1 where it is the revision, −1 where it is the first."""
        changed = [draft for draft in drafts if draft.now != draft.first]
        self.made.left_out["unchanged"] += len(drafts) - len(changed)
        chats = [
            chat
            for draft in changed
            for chat in preferring(draft.prompt, draft.now, draft.first, draft.principles)
        ]
        verdicts = [read_verdict(one.text) for one in self._ask(self.judge, chats)]
        found = []
        # A pair that was asked in one order alone is left out with the budget.
        for draft, pair in zip(
            changed, zip(verdicts[::2], verdicts[1::2], strict=False), strict=False
        ):
            better = preferred(pair)
            if better:
                found.append((draft, better))
            else:
                self.made.left_out["abstained" if better is None else "tied"] += 1
        return found

    def _ask(self, endpoint: Endpoint, chats: Sequence[Chat]) -> list[Said]:
        return self.budget.ask(self.kept, endpoint, chats, parallel=self.settings.parallel)

    def _is_answer(self, said: Said) -> bool:
        if said.cut:
            self.made.left_out["cut"] += 1
            return False
        return self._is_said(said)

    def _is_said(self, said: Said) -> bool:
        if not said.text.strip():
            self.made.left_out["empty"] += 1
            return False
        return True


def _row(
    draft: _Draft, better: int, constitution: Constitution, model: Endpoint, judge: Endpoint
) -> Row:
    revised, first = _said(draft.now), _said(draft.first)
    chosen, rejected = (revised, first) if better > 0 else (first, revised)
    return Row(
        (*draft.prompt, chosen),
        {
            "principle": [principle.name for principle in draft.principles],
            "critique": draft.critiques,
            "chosen_is": "revision" if better > 0 else "first",
            "constitution": constitution.name,
            "constitution_digest": constitution.digest,
            "model": model.name,
            "judge": judge.name,
            "prompt_digest": prompt_digest(draft.principles),
        },
        others=((rejected,),),
    )


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}
