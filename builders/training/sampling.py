"""What a training samples, whatever it makes of it: seeds, texts, and whether samplers can be
trusted.

Invariant: what is sampled at a step is a function of weights, seed and step, so a training that was
killed samples the same again. Token ids go from the sampler to the trainer as they are, never
through text. Log-probabilities of sampler and trainer that differ by more than the manifest allows
stop the build.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.data.reasoning import opened, read_answer
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.policy_gradient import EXPECTED
from adapterworks.builders.objectives.sampled import DRAWN, OLD, Sampled
from adapterworks.builders.plan.agreement import allowed_mismatch
from adapterworks.builders.plan.apart import behind_one_prompt, rows_apart
from adapterworks.builders.plan.generation import answers_of
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.checkpoint import Companion
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.builders.training.samplers import Sample, Sampler, prompt_seed
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.json_lines import ended_lines

SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class Collected:
    """What a step samples.

    Attributes:
        rows: the examples to learn from.
        metrics: of all that was sampled.
    """

    rows: EncodedSet
    metrics: dict[str, float] = field(default_factory=dict)


class Sampling(ABC):
    """Samples and examples of one training.

    Args:
        plan: of the training; its objective samples.
        objective: with the plan's settings.
        forward: runs the model.
        sampler: gives the answers.
        tokenizer: of the base, to read answers.
        rows: `train` and `validation`, in the order of the examples.
        folder: receives `samples.jsonl`.
    """

    def __init__(
        self,
        plan: Plan,
        objective: Sampled,
        forward: Forward,
        sampler: Sampler,
        tokenizer: Any,
        rows: dict[str, list[Row]],
        folder: Path,
    ) -> None:
        self.plan, self.objective, self.forward = plan, objective, forward
        self.sampler, self.tokenizer, self.rows = sampler, tokenizer, rows
        self.samples = folder / SAMPLES
        self.opened = opened(tokenizer)

    @abstractmethod
    def collect(self, examples: EncodedSet, indices: Sequence[int], step: int) -> Collected:
        """What is learnt at a step (from 0) on the prompts of these indices.

        Raises:
            Refused: sampler and trainer disagree.
        """

    @abstractmethod
    def measured(self, examples: EncodedSet) -> dict[str, float]:
        """What the objective reports of the validation rows."""

    def stepped(self) -> None:  # noqa: B027 – most have nothing to do
        """What was collected has been learnt."""

    def close(self) -> None:  # noqa: B027
        """Nothing more is sampled."""

    @property
    def companion(self) -> Companion | None:
        """What it has whose state is a part of a checkpoint."""
        return None

    @property
    def highest(self) -> float | None:
        """The most that an answer can be worth; None where nobody knows."""
        return None

    def together(self, count: int) -> int:
        """Prompts of which `count` answers each are sampled at once: as many answers as a step has,
        for which there is room."""
        return max(1, answers_of(self.plan.manifest) // count)

    def seed(self, step: int) -> int:
        """Of which answers are sampled at a step (from 0), and in what parts they are learnt."""
        return int((self.plan.manifest.train.seed * 1_000_003 + step) % 2**63)

    def seeds(self, indices: Sequence[int], step: int) -> list[int]:
        """Of what is drawn to each of these prompts at a step (from 0)."""
        return [prompt_seed(self.plan.manifest.train.seed, step, index) for index in indices]

    def forget_from(self, step: int) -> None:
        """Leave out the samples of steps that are taken again, and a line that a kill tore off."""
        if self.samples.exists():
            lines = ended_lines(self.samples.read_bytes())
            kept = [line + b"\n" for line in lines if json.loads(line)["step"] <= step]
            written = self.samples.with_suffix(".tmp")
            written.write_bytes(b"".join(kept))
            written.replace(self.samples)

    def _text(self, sample: Sample) -> str:
        """The whole of it; rewards read what is said behind the reasoning themselves."""
        return self.opened + read_answer(self.tokenizer, sample.ids)

    def _tell(
        self,
        step: int,
        indices: Sequence[int],
        groups: Sequence[Sequence[Sample]],
        more: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write down what was sampled to these prompts, with further values of each group."""
        self.samples.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "step": step + 1,
                "row": self.rows["train"][index].number or index + 1,
                "question": self.rows["train"][index].question,
                "answers": [self._text(sample) for sample in group],
                **values,
            }
            for index, group, values in zip(indices, groups, more, strict=True)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with self.samples.open("ab") as file:
            file.write(text.encode())

    def _agreed(self, sequences: Sequence[TokenSequence]) -> tuple[list[TokenSequence], float]:
        """The sequences with what the trainer says of them now, and how far the sampler was off.

        Raises:
            Refused: by more than is allowed, or by no number.
        """
        said = self._columns(sequences)
        apart = torch.cat(
            [
                (own[OLD] - sequence.columns[DRAWN])[sequence.labels != IGNORED].abs()
                for own, sequence in zip(said, sequences, strict=True)
            ]
        )
        plan, mismatch = self.plan, float(apart.quantile(0.99))
        limit = allowed_mismatch(plan.manifest, plan.precision, plan.device)
        if not mismatch <= limit:
            raise Refused(
                f"sampler and trainer differ by {mismatch:.3g} nats a token (99th percentile), "
                f"allowed are {limit:g}: what is learnt would be biased",
                hint="`objective.max_mismatch` says how much is allowed; by itself 1e-3 where both "
                "compute in float32",
            )
        agreed = [with_columns(s, own) for s, own in zip(sequences, said, strict=True)]
        return agreed, mismatch

    def _columns(self, sequences: Sequence[TokenSequence]) -> list[dict[str, torch.Tensor]]:
        """[length] of each: the log-probability of every labelled token, else 0; and what the value
        head expects there, where there is one."""
        self.forward.bare.eval()
        found: list[dict[str, torch.Tensor]] = []
        behind = behind_one_prompt(self.plan) and self.forward.scores_behind
        size = self.plan.micro_batch if behind else rows_apart(self.plan)
        for micro in chunks([*range(len(sequences))], size):
            some = [sequences[index] for index in micro]
            scores = self.forward.plain_scores(some, behind=behind)
            said = {OLD: scores.logprobs}
            if scores.expected is not None:
                said[EXPECTED] = scores.expected
            for place, index in enumerate(micro):
                learnt = sequences[index].labels != IGNORED
                own = {name: torch.zeros(len(learnt)) for name in said}
                for name, column in own.items():
                    column[learnt] = said[name][scores.owners == place].float().cpu()
                found.append(own)
        self.forward.bare.train()
        return found


def prompt_of(sequence: TokenSequence) -> list[int]:
    """The ids before the first label of a row that was encoded with its own answer."""
    start = int((sequence.labels != IGNORED).nonzero()[0])
    return list(sequence.input_ids[:start].tolist())


def sequence_of(
    prompt: Sequence[int], sample: Sample, values: Mapping[str, float] | None = None
) -> TokenSequence:
    """A prompt with an answer that was sampled to it, and what the sampler said of its tokens."""
    ids = torch.tensor([*prompt, *sample.ids])
    labels = torch.tensor([IGNORED] * len(prompt) + [*sample.ids])
    logprobs = torch.cat((torch.zeros(len(prompt)), sample.logprobs.float()))
    return TokenSequence(ids, labels, {DRAWN: logprobs}, values or {})


def with_columns(sequence: TokenSequence, columns: Mapping[str, torch.Tensor]) -> TokenSequence:
    """The sequence with further columns."""
    return replace(sequence, columns={**sequence.columns, **columns})


def learnt(sequence: TokenSequence) -> int:
    """How many of its tokens have a label."""
    return int((sequence.labels != IGNORED).sum())


def told_of(groups: Sequence[Sequence[Sample]]) -> dict[str, float]:
    """What is told of a step's answers, whatever they are worth."""
    flat = [sample for group in groups for sample in group]
    return {
        "length": sum(len(sample.ids) for sample in flat) / len(flat),
        "finished": sum(sample.finished for sample in flat) / len(flat),
        "entropy": -sum(float(sample.logprobs.mean()) for sample in flat) / len(flat),
    }
