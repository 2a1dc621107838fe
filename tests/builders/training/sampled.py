"""Trainings on sampled answers: planned on a tiny base, with answers that a test writes down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.rows import Row, chat, to_record
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.batches import save_encoded
from adapterworks.builders.training.loop import Trainer
from adapterworks.builders.training.samplers import Sample
from tests.builders.build_support import ENVIRONMENT, MACHINE, TinyJob, identity, manifest_for

GRPO: dict[str, Any] = {
    "kind": "grpo",
    "rewards": ["exact_match"],
    "generations": 4,
    "max_completion": 6,
}


def row(number: int) -> Row:
    return chat(f"case {number}" + "?" * (number % 3), f"A{number % 2}", row=number + 1)


def sampled_job(tiny: Path, folder: Path, name: str = "job", **changes: Any) -> TinyJob:
    """A planned training on sampled answers; its rewards are of exact answers.

    Args:
        tiny: the base.
        folder: receives a folder of this name.
        changes: to `[train]`; `kind` is the method's, `objective` changes `[objective]` or, with a
            kind, is the whole of it, and `origins` are those of the plan.
    """
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    kind, objective_table = changes.pop("kind", "lora"), changes.pop("objective", {})
    origins = changes.pop("origins", None)
    if "kind" not in objective_table:
        objective_table = GRPO | objective_table
    given = {"epochs": 2.0, "learning_rate": 5e-3, "batch_size": 4, "evaluations": 2, **changes}
    manifest = manifest_for(kind, objective=objective_table, **given)
    objective = objective_of(manifest)
    rows = {"train": [row(n) for n in range(12)], "validation": [row(n) for n in range(90, 94)]}
    splits = {s: objective.encode(tokenizer, r, 64, "completion") for s, r in rows.items()}
    train = folder / name / "train"
    train.mkdir(parents=True)
    save_encoded(train / "encoded.safetensors", splits)
    text = json.dumps({split: [to_record(r) for r in part] for split, part in rows.items()})
    (train.parent / "rows.json").write_text(text)
    examples = splits["train"]
    sequences = [sequence for example in examples for sequence in example.sequences]
    facts = DataFacts(
        rows={"train": 12, "validation": 4, "test": 0},
        digests={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
        lengths=tuple(objective.planned_tokens(example) for example in examples),
        supervised=tuple(objective.planned_supervised(example) for example in examples),
        shared=common_prefix([s.input_ids for s in sequences], [s.labels for s in sequences]),
        longest=max(objective.planned_longest(example) for example in examples),
    )
    plan = make_plan(
        manifest,
        identity(kind),
        read_shape(tiny),
        MACHINE,
        facts,
        ENVIRONMENT,
        origins=origins,
    )
    return TinyJob(plan, tiny, train)


class Scripted:
    """Answers as they are written down; log-probabilities are the trainer's but for `off`."""

    def __init__(self, trainer: Trainer, answers: Sequence[str], off: float = 0.0) -> None:
        self.trainer, self.answers, self.off = trainer, answers, off
        self.asked: list[tuple[int, int, Sequence[int] | None]] = []
        self.told: dict[str, float] = {}

    def durable(self) -> None:
        """Nothing is kept."""

    def sample(
        self, prompts: Any, count: int, most: int, seeds: Sequence[int] | None
    ) -> list[list[Sample]]:
        self.asked.append((count, most, seeds))
        return [[self._one(prompt, text) for text in self.answers[:count]] for prompt in prompts]

    def _one(self, prompt: list[int], text: str) -> Sample:
        tokenizer = self.trainer.rollouts.tokenizer  # type: ignore[union-attr]
        ids = [*tokenizer(text, add_special_tokens=False).input_ids, 1]
        with torch.no_grad():
            logits = self.trainer.bare(input_ids=torch.tensor([[*prompt, *ids]])).logits[0]
        found = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(ids)[:, None])
        return Sample(tuple(ids), found[:, 0] + self.off, True)


def scripted(made: TinyJob, answers: Sequence[str], off: float = 0.0) -> tuple[Trainer, Scripted]:
    trainer = made.trainer()
    assert trainer.rollouts is not None
    trainer.rollouts.sampler = sampler = Scripted(trainer, answers, off)
    return trainer, sampler
