"""How often a model refuses what is harmful, and what is harmless.

The prompts are this project's own, written for it (`harmful.txt`, `harmless.txt`): requests that no
assistant should help with, and harmless ones that sound like them, in the manner of XSTest (Röttger
et al. 2023, arXiv:2308.01263). Sixty each, in English: they show a change in a model, and are no
measure of how safe it is.

Invariant: the same prompts in the same order for every subject, so that every change is paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.data.render import render_prompts
from adapterworks.builders.data.rows import Message
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.gates.gate import GateOutcome
from adapterworks.builders.evaluation.gates.retention import Change
from adapterworks.builders.evaluation.gates.safety import safety_outcomes
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.report import CONFIDENCE
from adapterworks.builders.evaluation.retention import changed
from adapterworks.builders.evaluation.safety.refusals import answers, refuses
from adapterworks.builders.evaluation.statistics import Floats, mean_gain_interval
from adapterworks.builders.evaluation.suites.suite import BATCH
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import SafetyTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Refusals:
    """One model's, by prompt: 1 where a harmful request is refused, where a harmless one is not
    answered."""

    refused: Floats
    over_refused: Floats


@dataclass(frozen=True)
class Safety:
    """The candidate against the others: for the report, and the budget's verdicts."""

    report: dict[str, Any]
    outcomes: tuple[GateOutcome, ...]


@cache
def prompts(name: str) -> tuple[str, ...]:
    """Those of `harmful` or `harmless`."""
    return tuple((_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def require_measurable(
    tokenizer: PreTrainedTokenizerBase, table: SafetyTable, confidence: float = CONFIDENCE
) -> None:
    """Refuse, before a training, prompts that the base cannot be asked, and budgets that would be
    exceeded by a candidate that answers as the base does: their intervals have a width.

    Args:
        confidence: of those intervals.

    Raises:
        InvalidInput: the template refuses a question; or a budget, with the least that can be kept.
    """
    if not table.on:
        return
    questions: list[tuple[Message, ...]] = [({"role": "user", "content": prompts("harmful")[0]},)]
    render_prompts(tokenizer, questions, [()])
    for key, name in (("max_refusal_loss", "harmful"), ("max_over_refusal", "harmless")):
        count = len(prompts(name)[: table.limit])
        least = mean_gain_interval(np.zeros(count), confidence).high
        if (budget := getattr(table, key)) is not None and budget < least:
            raise InvalidInput(
                f"`evaluate.safety.{key}` is {budget:g}, and {count} requests cannot show less "
                f"than {least:.3f}, not even where every answer stays what it was",
                hint=f"set it to {math.ceil(least * 1000) / 1000:g} or more"
                if least <= 1
                else "raise `evaluate.safety.limit`",
            )


def ask(generator: Generator, table: SafetyTable, *, progress: Progress | None = None) -> Refusals:
    """Ask one model at most `table.limit` prompts of each kind."""
    harmful, harmless = (prompts(name)[: table.limit] for name in ("harmful", "harmless"))
    said = generator.generate(
        [({"role": "user", "content": text},) for text in (*harmful, *harmless)],
        max_new_tokens=table.max_new_tokens,
        batch_size=BATCH,
        progress=progress,
    )
    return Refusals(
        np.asarray([float(refuses(one)) for one in said[: len(harmful)]]),
        np.asarray([float(not answers(one)) for one in said[len(harmful) :]]),
    )


def compare_safety(
    found: Mapping[str, Refusals], table: SafetyTable, confidence: float = CONFIDENCE
) -> Safety:
    """The report's `safety` and the budget's verdicts, against every other subject.

    Args:
        found: of the candidate and of others, by name.
        confidence: of the intervals that have to be within the budget; the report's are at 95 %.
    """
    ours, against = found[CANDIDATE], _against(found, CONFIDENCE)
    told = {
        "prompts": "written for adapterworks",
        "digest": digest_json([prompts("harmful"), prompts("harmless")]),
        "harmful": len(ours.refused),
        "harmless": len(ours.over_refused),
        "refusal": {name: float(one.refused.mean()) for name, one in found.items()},
        "over_refusal": {name: float(one.over_refused.mean()) for name, one in found.items()},
        "against": {
            name: {"refusal": asdict(refusal), "over_refusal": asdict(over)}
            for name, (refusal, over) in against.items()
        },
        "by_row": {
            name: {"refused": one.refused.tolist(), "over_refused": one.over_refused.tolist()}
            for name, one in found.items()
        },
    }
    judged = _against(found, confidence)
    return Safety(told, tuple(safety_outcomes(table, judged, confidence)))


def _against(found: Mapping[str, Refusals], confidence: float) -> dict[str, tuple[Change, Change]]:
    ours = found[CANDIDATE]
    return {
        name: (
            changed(theirs.refused, ours.refused, confidence),
            changed(theirs.over_refused, ours.over_refused, confidence),
        )
        for name, theirs in found.items()
        if name != CANDIDATE
    }


def refusals_of(lines: Mapping[str, Sequence[float]]) -> Refusals:
    """What `compare_safety` wrote of one subject under `by_row`."""
    return Refusals(np.asarray(lines["refused"]), np.asarray(lines["over_refused"]))
