"""A model that judges, behind an OpenAI-compatible address: who it is, and what it may cost.

Invariant: a manifest names the variable that holds a key, never a key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adapterworks.manifests.values import Frozen, PositiveInt

ALONE = "graders"  # the judge is asked by graders alone


class JudgeTable(Frozen):
    """The judge model and its budget."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s#?@]+#\S.*$", max_length=500)]
    """Address and model name: `http://localhost:8000/v1#judge`. What is judged is sent there."""
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The environment variable that holds its key; `OPENAI_API_KEY` goes to openai.com alone."""
    max_tokens: PositiveInt = 1_000_000
    """Token budget for prompts and answers together; never exceeded."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    """Requests at once."""


class RewardJudge(JudgeTable):
    """`[objective.judge]`: a model that says what sampled answers are worth."""

    kind: Literal["pairwise", "pointwise", "graders"] = "pairwise"
    """`pairwise`: which of two answers to a prompt is better, asked in both orders, each answer
    beside two others of its group; `pointwise`: a score from 1 to 5; `graders`: it is asked by
    graders of the type `score_model` alone."""
    weight: float = 1.0
    """What its reward (0 to 1) is multiplied by."""
    asks: Annotated[int, Field(ge=1, le=16)] = 3
    """How often a score is asked for, each with its own seed; it is their mean."""
