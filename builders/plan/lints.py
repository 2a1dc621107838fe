"""Lints on `[train]` and the base: allowed but unusual choices, each with who found otherwise.

Invariant: a lint never stops a build.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.builders.data.formats import FORMATS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Default, Lint, Technique
from adapterworks.builders.objectives.objective import Objective, objective_of
from adapterworks.builders.plan.served import without_lora
from adapterworks.manifests.models import Manifest


def base_lints(manifest: Manifest, shape: BaseShape) -> Iterator[Lint]:
    """What this kind of base is not, whatever it is trained for: served, or in 4 bits."""
    if (found := without_lora(shape.classes)) is not None:
        yield Lint(
            "base.model",
            f"a base of type `{shape.architecture}` cannot be served: vLLM has no LoRA for it, "
            "and `adapters serve` starts no engine; exports and evaluation with `huggingface` "
            "work",
            f"vLLM: `{found}` does not support LoRA yet",
        )
    if manifest.base.quantization == "nf4" and shape.experts:
        whole = shape.parameters - shape.linear_parameters - 2 * shape.vocab * shape.hidden
        yield Lint(
            "base.quantization",
            f"NF4 leaves the experts of `{shape.architecture}` as they are, about "
            f"{max(0, whole) / shape.parameters:.0%} of its {shape.parameters:,} weights: "
            "training and engines hold them whole",
            "bitsandbytes quantizes linear layers; transformers stacks experts in one tensor",
        )


def usual_rate(technique: Technique[Any], objective: Objective) -> Default:
    """The learning rate of a method under an objective, and who says so."""
    own, times = technique.learning_rate, objective.learning_rate
    if times.value == 1.0:
        return own
    return Default(own.value * times.value, f"{own.value:g} × {times.value:g}; {times.source}")


def training_lints(
    manifest: Manifest,
    technique: Technique[Any],
    *,
    rows: int,
    steps: int,
    device: str,
    test: int | None = None,
) -> Iterator[Lint]:
    """Everything unusual about a training.

    Args:
        rows: training sequences.
        steps: optimizer steps.
        device: `cpu` or `cuda`.
        test: test rows, where they are known.
    """
    train = manifest.train
    objective = objective_of(manifest)
    default = usual_rate(technique, objective)
    if train.learning_rate is not None:
        factor = train.learning_rate / default.value
        if not 0.1 <= factor <= 10:
            yield Lint(
                "train.learning_rate",
                f"{train.learning_rate:g} is {factor:.2g}× the usual {default.value:g} "
                f"of `{technique.kind}`",
                default.source,
            )
    yield from technique.train_lints(train)
    yield from objective.lints(manifest)
    most = (
        train.epochs
        if train.max_steps is None
        else train.max_steps * train.batch_size / max(rows, 1)
    )
    epochs = min(train.epochs, most)
    if epochs > 5:
        yield Lint(
            "train.epochs",
            f"{epochs:g} epochs over {rows} rows; 1 to 3 is usual, more memorizes",
            "Ouyang et al. 2022, appendix C.1; Taori et al. 2023",
        )
    answers = not FORMATS.named(manifest.data.format).learnt_whole
    if rows < 200 and answers:
        yield Lint(
            "data.train",
            f"{rows} rows are few",
            "Zhou et al. 2023 (LIMA, arXiv:2305.11206): 1,000 good rows suffice",
        )
    if test is not None and test < 100 and manifest.evaluate.gates:
        yield Lint(
            "data.test",
            f"{test} test rows are few: at 95 % a gain shows from about "
            f"{200 / (test + 2) ** 0.5:.0f} points on where half of the answers change",
            "Bonett & Price 2012: half a width of 1.96 / √(rows + 2) for paired shares",
        )
    if steps < 10:
        yield Lint(
            "train.epochs",
            f"{steps} optimizer steps are few; the schedule hardly begins",
            "Mosbach et al. 2021 (arXiv:2006.04884): too few steps are a main cause of failure",
        )
    if train.loss_on == "all" and answers:
        yield Lint(
            "train.loss_on",
            "the loss covers the questions too",
            "Dettmers et al. 2023, §B.3 (QLoRA): training on the answer only scores higher",
        )
    if train.precision == "bf16" and device == "cpu":
        yield Lint(
            "train.precision",
            "bfloat16 on this CPU is slower than float32 without AMX or AVX512-BF16",
            "measured here, see docs/log/training.md",
        )
