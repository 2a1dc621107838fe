"""Steps of an answer: how they are told apart, and what is asked behind each.

A process reward reads, behind a step and its separator, log p(`+`) − log p(`-`) of the next token
(Wang et al. 2023, Math-Shepherd, arXiv:2312.08935). It is asked so in its training, in its
evaluation and as a reward of another training alike.

Invariant: a step and its separator are tokenized each for itself, as TRL's `PRMTrainer` does, so
that what stands before the question does not depend on what follows it.
"""

from __future__ import annotations

from adapterworks.builders.data.rows import Row

GOOD, BAD = "+", "-"
SEPARATOR = "step_separator"
"""The key of a row's `meta` that says how steps end."""
USUAL = "\n"


def with_separator(separator: str, row: Row) -> Row:
    """The row with how its steps end."""
    return row.with_meta(**{SEPARATOR: separator})


def separator_of(row: Row) -> str:
    """How a row's steps end."""
    return str(row.meta.get(SEPARATOR, USUAL))


def steps_of(text: str, separator: str) -> list[str]:
    """The steps of an answer that was not written in steps; what is blank is none."""
    return [step for step in text.split(separator) if step.strip()]
