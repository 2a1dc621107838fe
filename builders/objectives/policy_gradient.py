"""What the objectives that learn from sampled answers share: rows, columns, clipped ratios.

Invariant: an answer's advantage is known before its loss; the loss of a token depends on its own
answer alone. Nothing here samples: `builders/training/rollouts.py` does, and gives each supervised
token its log-probability at that time (`old`) and what the sampler said of it (`drawn`), with a
value head what was expected then (`expected`), and each sequence its `reward` and `advantage`. What
is true of all that samples is in `sampled.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.examples import Example, encode_prompts
from adapterworks.builders.objectives.sampled import DRAWN, Sampled, SampleTable
from adapterworks.builders.objectives.sampled import OLD as OLD
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.checking import Check, Problem, check, is_written
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load
from adapterworks.manifests.graders import Grader, ScoreModel, leaves_of
from adapterworks.manifests.judging import ALONE, RewardJudge
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.named import Named
from adapterworks.manifests.objective import ObjectiveTable, ReferenceTable
from adapterworks.manifests.refs import parse_ref

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

ADVANTAGE, REWARD, EXPECTED = "advantage", "reward", "expected"


class RolloutTable(SampleTable, ReferenceTable):
    """What every objective whose samples are rewarded can be told."""

    rewards: tuple[Annotated[str, Named("metrics")], ...] = ()
    """Metrics whose score of an answer is its reward, added up (see `adapters metrics`)."""
    reward_weights: tuple[float, ...] = ()
    """What each reward is multiplied by; 1 if not given."""
    graders: tuple[Grader, ...] = ()
    """OpenAI's graders, whose scores are added to the rewards (docs/explanation/alignment.md)."""
    judge: RewardJudge | None = None
    """A model at an OpenAI-compatible address whose verdict on an answer is added."""
    reward_release: str | None = None
    """A release of `kind = "reward"` on the same base, whose reward of an answer is added; or of
    `kind = "prm"`, which judges its steps."""
    reward_release_weight: float = 1.0
    """What its reward is multiplied by."""
    reward_aggregate: Literal["min", "mean", "last"] | None = None
    """Of a release of `kind = "prm"`: which of an answer's steps, each as σ of its reward, is the
    answer's; `min` (Wang et al. 2023) if not given."""
    generations: Annotated[int, Field(ge=2, le=256)] = 8
    """Answers sampled to each prompt: a group, within which rewards are compared."""
    beta: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the divergence from the reference; without it there is no reference."""
    importance_cap: Annotated[float, Field(ge=1.0)] = 2.0
    """What is learnt from a token is weighted by trainer's over sampler's share of it, which
    compute a little differently, up to this (truncated importance sampling, Ionides 2008)."""

    @property
    def learns_answers(self) -> bool:
        return False


@check("objective")
def _rewards(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """A reward is a score of a sampled answer; as many weights as rewards."""
    table = manifest.objective
    assert isinstance(table, RolloutTable)
    for index, name in enumerate(table.rewards):
        metric = load("metrics", name)
        if not metric.alone:
            yield Problem(
                ("objective", "rewards", index),
                f"`{name}` needs `{metric.needs}`, and a sampled answer has its text alone"
                if metric.higher_is_better or not metric.of_answers
                else f"`{name}` is better where it is smaller, and a reward is made larger",
                "reward by a metric of answers: `adapters metrics`",
            )
    for key in ("reference", "max_start_distance"):
        if not table.beta and is_written(written, "objective", key):
            yield Problem(
                ("objective", key),
                "without `beta` the policy is held near nothing",
                "set `beta` (0.04, say), or remove it",
            )
    for key in ("reward_release_weight", "reward_aggregate"):
        if table.reward_release is None and is_written(written, "objective", key):
            yield Problem(
                ("objective", key),
                "there is no `reward_release` whose reward it would be about",
                "name one, or remove it",
            )
    try:
        if table.reward_release is not None:
            parse_ref(table.reward_release)
    except InvalidInput as error:
        yield Problem(("objective", "reward_release"), error.message, error.hint or "")
    judges = table.judge is not None and table.judge.kind != ALONE
    asking = _asking(table)
    for index in asking if table.judge is None else ():
        yield Problem(
            ("objective", "graders", index),
            "a `score_model` asks a model, and nothing says where it answers",
            'add `[objective.judge]` with `endpoint = "URL#MODEL"` and `kind = "graders"`',
        )
    if table.judge is not None and not judges and not asking:
        yield Problem(
            ("objective", "judge", "kind"),
            "no grader asks the judge",
            'add a grader of the type `score_model`, or set `kind = "pairwise"`',
        )
    if not table.rewards and not table.graders and table.reward_release is None and not judges:
        yield Problem(
            ("objective", "rewards"),
            "nothing says what an answer is worth",
            'name a metric, `rewards = ["exact_match"]`, a grader, `[[objective.graders]]`, or a '
            "`reward_release`",
        )
    yield from _unread(table, written)
    if table.reward_weights and len(table.reward_weights) != len(table.rewards):
        yield Problem(
            ("objective", "reward_weights"),
            f"{len(table.reward_weights)} weights for {len(table.rewards)} rewards",
            "give each reward a weight, in the same order",
        )


def _unread(table: RolloutTable, written: dict[str, Any]) -> Iterator[Problem]:
    """Keys of its inner tables that nothing would read."""
    given = written.get("objective", {})
    if not table.beta and "kl" in given.get("alarms", {}):
        yield Problem(
            ("objective", "alarms", "kl"),
            "without `beta` there is no reference to be far from",
            "set `objective.beta` (0.04, say), or remove it",
        )
    if table.judge is None:
        return
    if table.judge.kind == ALONE and "weight" in given["judge"]:
        yield Problem(
            ("objective", "judge", "weight"),
            "the judge gives no reward of its own: graders ask it",
            "remove it; a grader of the type `multi` weighs what others give",
        )
    if table.judge.kind == "pairwise" and "asks" in given["judge"] and not _asking(table):
        yield Problem(
            ("objective", "judge", "asks"),
            "pairs are judged once in each order, and no grader asks for a score",
            'remove it, or set `kind = "pointwise"`',
        )


def _asking(table: RolloutTable) -> list[int]:
    """The numbers of the graders that ask a model."""
    return [
        index
        for index, grader in enumerate(table.graders)
        if any(isinstance(leaf, ScoreModel) for leaf in leaves_of(grader).values())
    ]


class PolicyGradient(Sampled):
    """What learns from the rewards of answers that the policy gives while it is trained.

    Attributes:
        every_group: it learns from answers whose group has equal rewards, too.
        critic: it has a value head; its table says `value_learning_rate`.
    """

    unit = "mean reward"
    reports = "reward"
    higher_is_better = True
    rewarded = True
    every_group: bool = False
    critic: bool = False
    checks: tuple[Check, ...] = (*Sampled.checks, _rewards)
    wrong = "which a policy does that exploits its reward"
    changed = "A lower `train.learning_rate` or a larger `objective.beta` is another training"
    learning_rate = Default(0.05, "1e-5 beside 2e-4 for LoRA: TRL, docs/source/peft_integration.md")

    @property
    def behind_one_prompt(self) -> int:
        """The answers of a group, in the order in which they were sampled."""
        return int(self.settings.generations)

    def configured(self, settings: ObjectiveTable) -> Self:
        one = super().configured(settings)
        one.reference = getattr(settings, "beta", 0.0) > 0
        return one

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """What a row asks; its own answer is read by rewards alone, and takes no room."""
        return [Example((one,), 1.0) for one in encode_prompts(tokenizer, rows, max_length)]

    def diverged_above(self, start: float) -> float:
        """A policy gradient's loss says nothing of how good the policy is; NaN is refused."""
        return float("inf")

    @abstractmethod
    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """[prompts, generations] rewards → [prompts, generations] advantages. Pure."""

    def credited(self, sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
        """All answers of a step with what each token is credited with, where that is not the
        answer's `advantage`. Pure."""
        return [*sequences]


def clipped(
    ratios: torch.Tensor, advantages: torch.Tensor, low: float, high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's −min(ρA, clip(ρ)A) of each element, and where the clip decided (as 0 and 1)."""
    import torch

    held = ratios.clamp(1 - low, 1 + high)
    outside = ((ratios < 1 - low) & (advantages < 0)) | ((ratios > 1 + high) & (advantages > 0))
    return -torch.min(ratios * advantages, held * advantages), outside.float()


def importance(
    scores: Scores, cap: float, of: Literal["tokens", "answers", "means"] = "tokens"
) -> torch.Tensor:
    """π_old ÷ μ of what was drawn from μ, at most `cap`: what a part of the loss is weighted by,
    since trainer and sampler do not compute quite alike. 1 where μ is not known.

    Args:
        of: as the objective's own ratios are: [tokens], or [sequences] of whole answers, or of the
            geometric mean of their tokens'.
    """
    import torch

    drawn = scores.columns.get(DRAWN)
    apart = torch.zeros_like(scores.logprobs) if drawn is None else scores.columns[OLD] - drawn
    apart = apart.detach()
    if of != "tokens":
        apart = scores.by_sequence(apart)
    if of == "means":
        apart = apart / scores.lengths()
    return apart.exp().clamp(max=cap)


def divergence(scores: Scores) -> torch.Tensor:
    """[tokens] the unbiased, never negative estimate of KL(π‖π₀) of Schulman 2020 (k3)."""
    apart = scores.columns["reference"] - scores.logprobs
    return apart.exp() - apart - 1


def per_token(scores: Scores, sequences: torch.Tensor) -> torch.Tensor:
    """[sequences] → [tokens]: each token its sequence's value."""
    return sequences[scores.owners]


def told(scores: Scores, outside: torch.Tensor, kl: torch.Tensor | None, count: float) -> Any:
    """The metrics of a micro batch, whose sums are divided by its count: means over sequences."""
    tokens = scores.lengths()
    share = count / scores.sequences
    metrics = {
        "entropy": -(scores.by_sequence(scores.logprobs.detach()) / tokens).sum() * share,
        "clip_share": (scores.by_sequence(outside) / tokens).sum() * share,
    }
    if kl is not None:
        metrics["kl"] = (scores.by_sequence(kl.detach()) / tokens).sum() * share
    return metrics
