"""Direct preference optimization: of two answers, the better one becomes likelier than it was,
against the worse one, the more so the less the policy has moved from its reference already.

What is left out of TRL's fifteen losses: those that need three answers, a sampler's tokens or a
batch's statistics (a pair here never depends on the other pairs of its micro batch). Dropout is
refused: it would move the policy away from its reference by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.pairs import PairObjective, halves
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import ReferenceTable
from adapterworks.manifests.values import PositiveFloat

if TYPE_CHECKING:
    import torch


class DpoTable(ReferenceTable):
    """Direct preference optimization (Rafailov et al. 2023) and its kin."""

    kind: Literal["dpo"]
    """The objective."""
    loss: Literal["sigmoid", "ipo", "hinge", "robust"] = "sigmoid"
    """What a pair's margin m costs: `sigmoid` −log σ(βm) (Rafailov et al. 2023), `ipo` (m − 1/2β)²
    with m a mean over tokens (Azar et al. 2023), `hinge` max(0, 1 − βm) (Zhao et al. 2023),
    `robust` the unbiased loss where a share `label_smoothing` of the labels is wrong (Chowdhury et
    al. 2024)."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held near its reference; smaller lets it go further."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """Share of pairs that are taken to be the wrong way round; for `sigmoid` and `robust`."""
    length_normalized: bool = False
    """Take means over an answer's tokens instead of sums, so that length is no advantage."""
    sft_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the chosen answer's own loss, a mean over its tokens (RPO, Pang et al. 2024)."""


@check("objective")
def _smoothing(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Smoothing means something to two of the losses, and one of them is nothing without it."""
    table = manifest.objective
    assert isinstance(table, DpoTable)
    if table.label_smoothing and table.loss in ("ipo", "hinge"):
        yield Problem(
            ("objective", "label_smoothing"),
            f"the loss `{table.loss}` has no label smoothing",
            'remove it, or set `loss = "sigmoid"` or `"robust"`',
        )
    if table.loss == "robust" and not table.label_smoothing:
        yield Problem(
            ("objective", "loss"),
            "`robust` without `label_smoothing` is `sigmoid`",
            "say which share of the labels is wrong (0.1), or use `sigmoid`",
        )


class Dpo(PairObjective):
    """Σ over pairs of a function of m = log π/π₀(chosen) − log π/π₀(rejected)."""

    name = "dpo"
    title = "direct preference optimization"
    source = "Rafailov et al. 2023, arXiv:2305.18290"
    reference = True
    table = DpoTable
    checks = (_smoothing,)

    def losses(self, scores: Scores) -> Loss:
        """Sum: over pairs. Metrics: share of pairs whose chosen answer gained more on its reference
        (`accuracy`), by how much (`margin`, in units of reward β·log π/π₀), and each reward."""
        table: DpoTable = self.settings
        lengths = scores.lengths()
        ratios = scores.by_sequence(scores.logprobs - scores.columns["reference"])
        means = ratios / lengths
        normalized = table.length_normalized or table.loss == "ipo"
        chosen, rejected = halves(means if normalized else ratios)
        losses = _cost(chosen - rejected, table)
        if table.sft_weight:
            own, _ = halves(scores.by_sequence(scores.logprobs) / lengths)
            losses = losses - table.sft_weight * own
        better, worse = (table.beta * part.detach() for part in halves(ratios))
        metrics = {
            "reward_accuracy": (better > worse).float().sum(),
            "margin": (better - worse).sum(),
            "reward_chosen": better.sum(),
            "reward_rejected": worse.sum(),
        }
        return Loss(losses.sum(), float(len(losses)), metrics)


def _cost(margins: torch.Tensor, table: DpoTable) -> torch.Tensor:
    """[pairs] margins in nats → [pairs] losses."""
    from torch.nn.functional import logsigmoid

    beta, wrong = table.beta, table.label_smoothing
    if table.loss == "ipo":
        return (margins - 1 / (2 * beta)) ** 2
    if table.loss == "hinge":
        return (1 - beta * margins).clamp(min=0)
    right, turned = -logsigmoid(beta * margins), -logsigmoid(-beta * margins)
    if table.loss == "robust":
        return ((1 - wrong) * right - wrong * turned) / (1 - 2 * wrong)
    return (1 - wrong) * right + wrong * turned


OBJECTIVE = Dpo()
