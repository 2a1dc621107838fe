"""A subject of an evaluation as a `Generator`: turns into token ids, answers into text.

Invariant: an engine is asked the ids that training saw for the same turns, and nothing but token
ids passes between us and it. An answer is what is said behind the reasoning; `whole` has both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.reasoning import read_answer, spoken
from adapterworks.builders.data.render import IGNORED, Encoded, render_prompts
from adapterworks.builders.data.rows import Message
from adapterworks.builders.engines.engine import Given, Progress, Sampling
from adapterworks.builders.engines.session import Session, Subject
from adapterworks.manifests.evaluate_tables import SamplesTable
from adapterworks.registry.bases.ends import ends as ends
from adapterworks.registry.bases.quiet import quiet_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Asked:
    """One subject, asked through a session.

    Args:
        tokenizer: the base's, with the template that training used.
        ends: ids that end an answer.
    """

    def __init__(
        self,
        session: Session,
        subject: Subject,
        tokenizer: PreTrainedTokenizerBase,
        ends: tuple[int, ...],
    ) -> None:
        self._session = session
        self._subject = subject
        self._tokenizer = tokenizer
        self._ends = ends
        self.cut: Sequence[bool] = ()
        self.whole: Sequence[str] = ()
        self.whole_drawn: Sequence[tuple[str, ...]] = ()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's."""
        return self._tokenizer

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Sequence[Mapping[str, Any]]] = (),
        max_new_tokens: int,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[str]:
        """Greedy answers, in the order of the prompts, ending at the end of the turn."""
        asked = render_prompts(self._tokenizer, prompts, tools)
        answers = self._session.complete(
            self._subject,
            asked,
            Sampling(max_tokens=max_new_tokens, stop=self._ends),
            batch_size=batch_size,
            progress=progress,
        )
        self.cut = [answer.stop == "length" for (answer,) in answers]
        self.whole = [
            read_answer(self._tokenizer, answer.answer, prompt)
            for (answer,), prompt in zip(answers, asked, strict=True)
        ]
        return [spoken(text) for text in self.whole]

    def sample(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Sequence[Mapping[str, Any]]] = (),
        max_new_tokens: int,
        batch_size: int,
        table: SamplesTable,
        seed: int,
        progress: Progress | None = None,
    ) -> list[tuple[str, ...]]:
        """`table.n` drawn answers to each prompt, in their order."""
        asked = render_prompts(self._tokenizer, prompts, tools)
        answers = self._session.complete(
            self._subject,
            asked,
            Sampling(
                max_tokens=max_new_tokens,
                stop=self._ends,
                temperature=table.temperature,
                top_p=table.top_p,
                n=table.n,
                seed=seed,
            ),
            batch_size=batch_size,
            progress=progress,
        )
        self.whole_drawn = [
            tuple(read_answer(self._tokenizer, one.answer, prompt) for one in given)
            for given, prompt in zip(answers, asked, strict=True)
        ]
        return [tuple(spoken(text) for text in given) for given in self.whole_drawn]

    def likelihood(
        self, sequences: Sequence[Encoded], *, batch_size: int, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """[n, 2]: summed −log-likelihood (nats) of the labelled tokens, and their number."""
        given = [Given(tuple(s.input_ids), _first_label(s)) for s in sequences]
        scored = self._session.score(self._subject, given, batch_size=batch_size, progress=progress)
        result = np.zeros((len(sequences), 2))
        for line, (sequence, one, logprobs) in enumerate(
            zip(sequences, given, scored, strict=True)
        ):
            learnt = np.asarray(sequence.labels[one.start :]) != IGNORED
            result[line] = 0.0 - logprobs[learnt].sum(), learnt.sum()
        return result


def asked(session: Session, subjects: Mapping[str, Subject]) -> dict[str, Callable[[], Asked]]:
    """How to begin to ask each subject; the session knows of them from now on.

    Those of one base share its tokenizer, which takes most of a second to read.
    """
    for subject in subjects.values():
        session.know(subject)
    read = cache(_tokenizer)
    return {name: partial(_begin, session, one, read) for name, one in subjects.items()}


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    quiet_libraries()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _begin(
    session: Session, subject: Subject, read: Callable[[Path], PreTrainedTokenizerBase]
) -> Asked:
    folder = subject.model.folder
    tokenizer = read(folder)
    return Asked(session, subject, tokenizer, ends(folder, tokenizer.eos_token_id))


def _first_label(sequence: Encoded) -> int:
    """The first index from 1 on that has a label, or the length; a first token is not predicted."""
    labels = sequence.labels
    found = (at for at in range(1, len(labels)) if labels[at] != IGNORED)
    return next(found, max(1, len(labels)))
