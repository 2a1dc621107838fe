"""Scores that a judge gives to single answers, asked several times: its own, and `score_model`'s.

Invariant: pure; asks differ in their seed alone, and a score outside of the scale is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, conversation, marked
from adapterworks.builders.objectives.graders import filled
from adapterworks.builders.rewards.abstaining import agreed
from adapterworks.manifests.endings import ending_of
from adapterworks.manifests.graders import ScoreModel

LOW, HIGH = 1.0, 5.0
_TASK = (
    "You judge an answer to a question. 5: it is right and complete, and does what was asked. 1: "
    "it is wrong, or does not answer. Say in one sentence what decides it, and end with a line "
    f"that is exactly `Score: N`, N from 1 to 5. {MATERIAL}"
)
_TOKENS = 512
_SCORE = re.compile(
    r"^\W*score\W*?(-?[0-9]+(?:\.[0-9]+)?)(?:\s*(?:/|out of)\s*([0-9]+(?:\.[0-9]+)?))?\W*$",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"^\s*(-?[0-9]+(?:\.[0-9]+)?)\s*$")


def scoring(row: Row, answer: str, asks: int) -> list[Chat]:
    """An answer's score from 1 to 5, asked for several times."""
    said = [("QUESTION", conversation(row.prompt)), ("ANSWER", spoken(answer))]
    chat = marked(_TASK, said, _TOKENS)
    return [Chat(chat.messages, _TOKENS, temperature=1.0, seed=at) for at in range(asks)]


def grading(grader: ScoreModel, answer: str, columns: Mapping[str, str], asks: int) -> list[Chat]:
    """A `score_model`'s number, asked for several times.

    Raises:
        NoColumn: a column that it reads is not there.
    """
    low, high = grader.range
    ends = f"`Score: N`, N a number from {low:g} to {high:g}"
    return [asking(grader, answer, columns, ends, at) for at in range(asks)]


def asking(
    grader: ScoreModel, answer: str, columns: Mapping[str, str], ends: str, at: int = 0
) -> Chat:
    """A grader's turns, filled in, with what the last line is to be.

    Args:
        ends: that line, in words.
        at: which of several asks it is.

    Raises:
        NoColumn: a column that it reads is not there.
    """
    turns = [
        {"role": turn.role, "content": filled(turn.content, spoken(answer), columns)}
        for turn in grader.input
    ]
    turns[-1]["content"] += f"\n\nEnd with a line that is exactly {ends}."
    drawn = grader.sampling_params
    return Chat(
        turns,
        drawn.max_completions_tokens,
        temperature=drawn.temperature,
        seed=drawn.seed + at,
        top_p=drawn.top_p,
    )


def read_scores(said: Sequence[Answer], low: float, high: float) -> float | None:
    """What they come to; None where the judge abstains (`abstaining.agreed`)."""
    return agreed([read_score(one.text, low, high) for one in said], low, high)


def read_score(text: str, low: float, high: float) -> float | None:
    """The last line with a score, or a text that is a number; None if it is none on the scale.

    `4/5` and `4 out of 5` are 4, where the scale's end is 5.
    """
    end = ending_of(text)
    found = _SCORE.findall(end) or [(number, "") for number in _NUMBER.findall(end)]
    if not found:
        return None
    said, of = found[-1]
    if of and float(of) != high:
        return None
    score = float(said)
    return score if math.isfinite(score) and low <= score <= high else None
