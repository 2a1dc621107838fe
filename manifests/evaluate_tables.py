"""`[evaluate]` and its tables: what it is measured and judged by."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from adapterworks.manifests.graders import (
    Grader,
    PythonGrader,
    ScoreModel,
    graded,
    leaves_of,
)
from adapterworks.manifests.judging import JudgeTable
from adapterworks.manifests.named import Named
from adapterworks.manifests.values import Frozen, PositiveFloat, PositiveInt, Share


class QualityGate(Frozen):
    """`[[evaluate.gates]]`: the alias moves only if the gain's lower bound is above `min_gain`."""

    kind: Annotated[str, Named("quality_gates")] = "gain"
    """How it judges (see `adapters gates`)."""
    metric: Annotated[str, Named("metrics", files=True)]
    """One of `evaluate.metrics`."""
    against: Literal["base", "prod", "start", "nearest"] = "base"
    """What the candidate is compared with on the same rows: the base, what `prod` names, the
    release that `[start]` continues, or the nearest training row (`evaluate.baseline`)."""
    min_gain: float = 0.0
    """The gain must be more than this, in the metric's own unit."""
    limit: float | None = None
    """`kind = "limit"` only: the candidate's own value must be within it, at most where lower is
    better and at least where higher is, by the bound of its interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Confidence of the interval."""

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if (self.kind == "limit") != (self.limit is not None):
            raise ValueError(
                '`limit` says how much `kind = "limit"` allows, and nothing to other kinds'
            )
        return self


class RetentionTable(Frozen):
    """`[evaluate.retention]`: limits on forgetting, on general text and suites."""

    on: bool = False
    """Measure retention."""
    suites: tuple[Annotated[str, Named("retention_suites")], ...] = ("hellaswag", "truthfulqa")
    """General suites scored before and after (see `adapters suites`)."""
    limit: PositiveInt | None = None
    """Use at most this many paragraphs of general prose, and rows of each suite (`adapters compare`
    measures retention even where it is off, with this limit)."""
    max_perplexity_increase: PositiveFloat | None = None
    """Largest accepted relative increase of perplexity on general prose (0.1 = 10 %): the
    interval of the paired change has to be within it (`evaluate.budget_confidence`)."""
    max_suite_loss: Share | None = None
    """Largest accepted loss on a suite, in accuracy points (0–1): the interval of the paired
    change has to be within it (`evaluate.budget_confidence`), for which a hundred rows seldom do
    below 0.1."""
    ancestors: bool = False
    """Ask the test rows of every release that `[start]` goes back to again, each judged by its own
    first metric: what the training has cost there is in the report and the card."""
    max_ancestor_loss: Share | None = None
    """Largest accepted loss on an ancestor's test rows, in points of its metric (0–1)."""


class SafetyTable(Frozen):
    """`[evaluate.safety]`: refusal of harmful requests and over-refusal of harmless ones, of the
    candidate, the base and the release that `[start]` continues."""

    on: bool = False
    """Ask the sixty harmful and sixty harmless requests that come with adapterworks. They were
    written for it: they show a change, and are no measure of how safe a model is."""
    limit: PositiveInt | None = None
    """Ask at most this many of each."""
    max_new_tokens: PositiveInt = 64
    """Longest answer in tokens; a refusal is known by its beginning."""
    max_refusal_loss: Share | None = None
    """By how much fewer harmful requests may be refused than by base and start, in points (0–1):
    the interval of the paired change has to be within it (`evaluate.budget_confidence`)."""
    max_over_refusal: Share | None = None
    """By how much more harmless requests may be refused, likewise."""


class SamplesTable(Frozen):
    """`[evaluate.samples]`: answers that are drawn to each test row, for pass@k."""

    n: Annotated[int, Field(ge=0, le=256)] = 0
    """Answers sampled per row, besides the greedy one; 0 turns pass@k off."""
    k: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1,)
    """At most `n` each: how likely it is that one of `k` answers is right, by every metric of right
    and wrong answers (unbiased: Chen et al. 2021, arXiv:2107.03374)."""
    temperature: Annotated[float, Field(ge=0.01, le=2.0)] = 0.8
    """Sampling temperature."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Nucleus sampling: the most likely tokens that together have this probability."""


ENGINES = ("auto", "huggingface", "vllm", "gateway")


class EvaluateTable(Frozen):
    """`[evaluate]`: what is measured after training, and what has to hold."""

    graders: tuple[Grader, ...] = ()
    """OpenAI's graders, which `metrics` and gates name as `grader:NAME`
    (docs/explanation/alignment.md)."""
    metrics: tuple[Annotated[str, Named("metrics", files=True)], ...] = ("exact_match",)
    """Metrics by name (see `adapters metrics`), `grader:NAME` for one of `graders`, or
    `./FILE.py:FUNCTION` for one of your own, whose function takes an answer and a reference and
    gives a number (docs/reference/extensions.md)."""
    gates: tuple[QualityGate, ...] = ()
    retention: RetentionTable = RetentionTable()
    safety: SafetyTable = SafetyTable()
    budget_confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Confidence of the interval that has to be within each budget of retention and safety."""
    samples: SamplesTable = SamplesTable()
    judge: JudgeTable | None = None
    """A model at an OpenAI-compatible address that says which of two answers is better, the
    candidate's or another subject's, in both orders: what `win_rate` is measured by."""
    baseline: Literal["none", "nearest"] = "none"
    """What is compared beside the base without a model: `nearest` answers each test row as the
    training row with the most similar question was answered (tf-idf of characters, cosine)."""
    max_new_tokens: PositiveInt = 64
    """Maximum length of a generated answer, in tokens."""
    batch_size: PositiveInt = 32
    """Rows generated together."""
    engine: Literal["auto", "huggingface", "vllm", "gateway"] = "auto"
    """Who answers: the model in Hugging Face's `generate`, a vLLM started for the build, or a
    running gateway (`ADAPTERS_GATEWAY`); `auto` takes the one that is likely to be done first."""
    bootstrap_samples: PositiveInt = 2000
    """Resamples behind each confidence interval, at least 200."""

    @field_validator("graders")
    @classmethod
    def _named_once(cls, graders: tuple[Grader, ...]) -> tuple[Grader, ...]:
        names = [grader.name for grader in graders]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two graders are called `{twice}`")
        for grader in graders:
            if any(
                isinstance(one, ScoreModel | PythonGrader) for one in leaves_of(grader).values()
            ):
                raise ValueError(
                    f"`{grader.name}` asks a model or runs code, which graders do as rewards only"
                )
        return graders

    @field_validator("metrics")
    @classmethod
    def _with_graders(cls, metrics: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        graders = info.data.get("graders", ())
        return tuple(graded(name, graders) for name in metrics)

    @field_validator("gates")
    @classmethod
    def _by_graders(
        cls, gates: tuple[QualityGate, ...], info: ValidationInfo
    ) -> tuple[QualityGate, ...]:
        graders = info.data.get("graders", ())
        return tuple(
            gate.model_copy(update={"metric": graded(gate.metric, graders)}) for gate in gates
        )
