"""Who samples and what is made of it, as the plan says: sampler, rewards or teacher.

Invariant: one of each for a training; what is loaded for it (a teacher of its own) is loaded here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adapterworks.builders.data.rows import from_record
from adapterworks.builders.objectives.distillation import Distillation
from adapterworks.builders.objectives.policy_gradient import PolicyGradient
from adapterworks.builders.objectives.sampled import Sampled
from adapterworks.builders.objectives.scoring import TeacherLoss
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.distilled import Distilled
from adapterworks.builders.training.engine_sampler import EngineSampler
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.model import dtype_of, save_adapter
from adapterworks.builders.training.rollouts import Rollouts
from adapterworks.builders.training.samplers import HuggingFaceSampler, Sampler
from adapterworks.builders.training.sampling import Sampling
from adapterworks.builders.training.teacher import (
    Average,
    SeparateTeacher,
    SharedTeacher,
    Teacher,
    projection_for,
)
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.objective import BASE
from adapterworks.registry.bases.ends import ends


@dataclass(frozen=True, slots=True)
class Given:
    """Folders of what stands beside the policy.

    Attributes:
        reference: of the adapter that is the reference, where it is one.
        reward: of the reward's adapter, where a release rewards.
        separator: what its steps end with, where it judges steps.
        teacher: of the teacher's adapter, where it has one.
        teacher_model: of the teacher's own checkpoint, where it has one.
    """

    reference: Path | None = None
    reward: Path | None = None
    separator: str | None = None
    teacher: Path | None = None
    teacher_model: Path | None = None


def make_sampling(
    plan: Plan,
    objective: Sampled,
    forward: Forward,
    checkpoint: Path,
    folder: Path,
    given: Given,
    engine: str | None,
    accelerator: Any,
) -> Sampling:
    """What a training samples with.

    Args:
        checkpoint: the base's folder.
        folder: of the training; `rows.json` is beside it.
        engine: where an engine samples, if one does (`engine_sampler.py`).

    Raises:
        Refused: who is to teach cannot, or several processes train.
    """
    if accelerator.num_processes > 1:
        raise Refused(
            f"`{objective.name}` samples in one process, and {accelerator.num_processes} train",
            hint="leave `train.accelerate_config` out",
        )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    stop = ends(checkpoint, tokenizer.eos_token_id)
    sampler: Sampler
    if engine is None:
        together = plan.generation_batch
        autocast = accelerator.autocast  # what the trainer's forward passes run under
        sampler = HuggingFaceSampler(forward.bare, forward.pad, stop, together, autocast)
    else:
        save = partial(save_adapter, forward.bare, plan=plan)
        sampler = EngineSampler(engine, save, folder / "sampling", stop)
    records = json.loads((folder.parent / "rows.json").read_text(encoding="utf-8"))
    rows = {split: [from_record(values) for values in part] for split, part in records.items()}
    if isinstance(objective, Distillation):
        taught = _teacher(plan, objective, forward, given)
        return Distilled(plan, objective, forward, sampler, tokenizer, rows, folder.parent, taught)
    assert isinstance(objective, PolicyGradient)
    return Rollouts(
        plan,
        objective,
        forward,
        sampler,
        tokenizer,
        rows,
        folder.parent,
        given.reference,
        given.reward,
        given.separator,
    )


def _teacher(plan: Plan, objective: Distillation, forward: Forward, given: Given) -> Teacher:
    """Who teaches; what is scored is compared with it from here on."""
    micro = plan.micro_batch
    found: Teacher
    if plan.teacher is None:
        found = Average(forward, objective.settings.teacher_rate, micro)
    elif given.teacher_model is not None:
        found = SeparateTeacher(
            given.teacher_model,
            given.teacher,
            plan.precision,
            dtype_of(plan),
            forward.device,
            forward.pad,
            micro,
        )
    else:
        reference = BASE if given.teacher is None else plan.teacher
        found = SharedTeacher(forward, reference, given.teacher, micro)
    projection_for(forward.projection)
    forward.beside = TeacherLoss(found.logits, objective.apart)
    return found
