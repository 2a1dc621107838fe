"""An objective of somebody else's: DPO in one file, installed by a test through an entry point."""

from __future__ import annotations

from typing import Any

from adapterworks.builders.objectives.examples import Example, encode_answers
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores

BETA = 0.5


class Dpo(Objective):
    """−log σ(β·(log π/π₀ of the chosen − of the rejected)), Rafailov et al. 2023, eq. 7."""

    name = "acme-dpo"
    title = "preference optimization"
    source = "Rafailov et al. 2023, arXiv:2305.18290"
    takes = frozenset({"comparison"})
    unit = "share of pairs"
    reports = "chosen_first"
    higher_is_better = True
    sequences = 2
    reference = True

    def encode(self, tokenizer: Any, rows: Any, max_length: int, loss_on: Any) -> list[Example]:
        return [Example(pair, 1.0) for pair in encode_answers(tokenizer, rows, max_length, 2)]

    def losses(self, scores: Scores) -> Loss:
        from torch.nn.functional import logsigmoid

        ratios = scores.by_sequence(scores.logprobs - scores.columns["reference"])
        chosen, rejected = ratios.view(-1, 2).unbind(1)
        margins = BETA * (chosen - rejected)
        metrics = {"chosen_first": (margins > 0).float().sum(), "margin": margins.sum()}
        return Loss(-logsigmoid(margins).sum(), float(len(margins)), metrics)


OBJECTIVE = Dpo()


class Miscounting(Dpo):
    """It counts tokens where its examples count pairs: the gradient would depend on the cut."""

    name = "acme-miscounting"

    def losses(self, scores: Scores) -> Loss:
        return Loss(super().losses(scores).sum, float(len(scores.logprobs)), {})


MISCOUNTING = Miscounting()
