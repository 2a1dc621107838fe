"""The engines of one evaluation: opened when first needed, and not asked what was answered before.

Invariant: an answer comes from the chosen member, or was kept from one of the very same identity;
of a member that does not know its own, nothing is kept.
Where the chosen one cannot run or score something, the reference member is asked, and `used` and
`say` tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.answers import (
    Answers,
    Asked,
    completion_question,
    completions_from_json,
    completions_to_json,
    scores_from_json,
    scores_to_json,
    scoring_question,
)
from adapterworks.builders.engines.engine import (
    Adapter,
    Completion,
    Engine,
    Given,
    Ids,
    Model,
    Opener,
    Progress,
    Sampling,
)
from adapterworks.builders.engines.huggingface import MEMBER as REFERENCE


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is asked: a model, alone or with an adapter on it."""

    model: Model
    adapter: Adapter | None = None

    @property
    def digest(self) -> str | None:
        """The adapter's."""
        return None if self.adapter is None else self.adapter.digest

    @property
    def contents(self) -> str | None:
        """What answers are kept by: of the adapter's files, where they were looked at."""
        return self.digest if self.adapter is None else self.adapter.contents or self.digest


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a subject."""

    kind: str
    digest: str
    longest: int
    rows: int
    batch_size: int


class Session:
    """Asks one member for everything it can do; a `with` block closes what was opened.

    Args:
        openers: by name; `huggingface` is among them.
        chosen: the member that is asked.
        answers: what was answered before; None keeps nothing.
        say: told when another member is asked than was wanted, and why.
        because: why the reference member was chosen though another was wanted.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        chosen: str,
        *,
        answers: Answers | None = None,
        say: Callable[[str], None] | None = None,
        because: str | None = None,
    ) -> None:
        self.chosen = chosen
        self._openers = openers
        self._answers = answers
        self._say = say or (lambda _: None)
        self._known: dict[str, dict[str, Adapter]] = {}
        self._open: dict[str, tuple[str, Engine]] = {}
        self._elsewhere: dict[str, None] = {}  # sentences, each told once
        self._used: dict[str, dict[str, Any]] = {}
        if because is not None:
            self._tell(f"{because}; `{chosen}` is asked")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def know(self, subject: Subject) -> None:
        """Say, before anything is asked, who will be: engines are opened with limits for all."""
        if subject.adapter is not None:
            known = self._known.setdefault(subject.model.digest, {})
            known[subject.adapter.digest] = subject.adapter

    def complete(
        self,
        subject: Subject,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """As `Engine.complete`."""
        question = _Question(
            "complete",
            completion_question(prompts, sampling),
            max((len(prompt) for prompt in prompts), default=0) + sampling.max_tokens,
            len(prompts),
            batch_size,
        )

        def ask(engine: Engine) -> list[Any]:
            return completions_to_json(
                engine.complete(
                    prompts,
                    sampling,
                    adapter=subject.digest,
                    batch_size=batch_size,
                    progress=progress,
                )
            )

        return completions_from_json(
            self._answer(self._member(subject), subject, question, ask, progress)
        )

    def score(
        self,
        subject: Subject,
        sequences: Sequence[Given],
        *,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        """As `Engine.score`."""
        question = _Question(
            "score",
            scoring_question(sequences),
            max((len(given.token_ids) for given in sequences), default=0),
            len(sequences),
            batch_size,
        )

        def ask(engine: Engine) -> list[Any]:
            return scores_to_json(
                engine.score(
                    sequences, adapter=subject.digest, batch_size=batch_size, progress=progress
                )
            )

        return scores_from_json(
            self._answer(self._member(subject, sequences), subject, question, ask, progress)
        )

    def used(self) -> dict[str, Any]:
        """For the report: who answered, what they are, what they were asked, and why others."""
        members = {name: self._used[name] for name in sorted(self._used)}
        return {"chosen": self.chosen, "members": members, "elsewhere": list(self._elsewhere)}

    def close(self) -> None:
        """Let go of every engine; idempotent."""
        while self._open:
            _, (_, engine) = self._open.popitem()
            engine.close()

    def _answer(
        self,
        member: str,
        subject: Subject,
        question: _Question,
        ask: Callable[[Engine], list[Any]],
        progress: Progress | None,
    ) -> list[Any]:
        self._note(member, subject, question.kind)
        asked = self._asked(member, subject, question)
        # Equal addresses are not equal engines: what runs behind one may be another by now.
        answers = self._answers if self._openers[member].identity(subject.model).known else None
        kept = answers.get(asked) if answers is not None else None
        if kept is not None and len(kept) == question.rows:
            if progress:
                progress(question.rows, question.rows)
            return kept
        answer = ask(self._engine(member, subject.model, question.longest))
        if answers is not None:
            answers.put(asked, answer)
        return answer

    def _member(self, subject: Subject, sequences: Sequence[Given] | None = None) -> str:
        """Who answers, or scores: the chosen one, if it can."""
        opener = self._openers[self.chosen]
        reason = opener.refuses(subject.model, subject.adapter)
        if reason is None and sequences is not None and not opener.can_score(sequences):
            reason = "does not score this many given tokens at a bearable cost"
        if reason is None:
            return self.chosen
        self._tell(f"`{self.chosen}` {reason}; `{REFERENCE}` is asked")
        return REFERENCE

    def _asked(self, member: str, subject: Subject, question: _Question) -> Asked:
        identity = self._openers[member].identity(subject.model).to_json()
        return Asked(
            question.kind,
            identity,
            subject.model.digest,
            subject.contents,
            question.batch_size,
            question.digest,
        )

    def _note(self, member: str, subject: Subject, kind: str) -> None:
        identity = self._openers[member].identity(subject.model).to_json()
        entry = self._used.setdefault(member, {**identity, "asked": []})
        if kind not in entry["asked"]:
            entry["asked"].append(kind)

    def _tell(self, sentence: str) -> None:
        if sentence not in self._elsewhere:
            self._elsewhere[sentence] = None
            self._say(sentence)

    def _engine(self, member: str, model: Model, longest: int) -> Engine:
        """The member's open engine; one that cannot be used any more is closed first."""
        if member in self._open:
            digest, engine = self._open[member]
            if digest == model.digest and (engine.longest is None or longest <= engine.longest):
                return engine
            del self._open[member]
            engine.close()
        opener = self._openers[member]
        known = [
            adapter
            for adapter in self._known.get(model.digest, {}).values()
            if opener.refuses(model, adapter) is None
        ]
        engine = opener.open(model, known, longest=longest)
        self._open[member] = (model.digest, engine)
        return engine
