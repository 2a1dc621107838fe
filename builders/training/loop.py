"""Training: one compact loop for every method, resumable to the bit (see docs/adr).

Invariant: the state after step n is a function of plan and rows alone, and a checkpoint holds all
of it: a training that was killed and resumed ends with the weights of one that was not.

A process of its own, started by `builders/training/job.py`:

    python -P -m adapterworks.builders.training.loop BUILD_DIRECTORY
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.methods import METHODS
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.arithmetic import Divergence, learning_rate_at, token_losses
from adapterworks.builders.training.batches import EncodedSet, collate, epoch_batches, load_encoded
from adapterworks.builders.training.checkpoint import Checkpoints, Progress
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.model import build_model, make_optimizer, save_adapter
from adapterworks.builders.training.peak import PeakMemory
from adapterworks.builders.training.shared_prefix import computes_alike, shared_losses
from adapterworks.builders.training.trackers import make_trackers
from adapterworks.manifests.errors import Refused

ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainResult:
    """What a training came to; losses in nats per supervised token, memory in bytes."""

    steps: int
    best_step: int
    best_loss: float | None
    train_loss: float
    tokens_per_second: float
    seconds: float
    peak_memory: int
    stopped_early: bool


class Trainer:
    """One training of one plan.

    Args:
        plan: what to do.
        checkpoint: the base's folder.
        folder: receives checkpoints and, at the end, `adapter/`.
        rows: `train` and, if there are any, `validation`.
        events: receives a line per step, evaluation and checkpoint.
        pad: the token id that padding is filled with (it is masked).
    """

    def __init__(
        self,
        plan: Plan,
        checkpoint: Path,
        folder: Path,
        rows: dict[str, EncodedSet],
        events: EventLog,
        *,
        pad: int = 0,
    ) -> None:
        from accelerate import Accelerator

        self.plan, self.folder, self.rows, self.events, self.pad = plan, folder, rows, events, pad
        self.train_table = plan.manifest.train
        self.technique = METHODS[plan.manifest.method.kind]
        self.memory = PeakMemory(plan.device)
        self.trackers = make_trackers(plan, folder)
        self.accelerator = Accelerator(
            mixed_precision=None if plan.precision == "fp32" else plan.precision,
            cpu=plan.device == "cpu",
        )
        self.bare = build_model(checkpoint, plan)
        optimizer = make_optimizer(self.bare, plan)
        self.model, self.optimizer = self.accelerator.prepare(self.bare, optimizer)
        self.checkpoints = Checkpoints(
            folder / CHECKPOINTS, self.bare, self.optimizer, self.technique, self.accelerator
        )
        restored = self.checkpoints.restore()
        self.progress = restored or Progress()
        if restored:
            self._say("resumed", step=self.progress.step)
        self.shares_prefix = self._prefix_can_be_shared()

    @property
    def _virtual(self) -> int:
        """Embeddings in front of the logits: prompt tuning's; a prefix is in the cache instead."""
        return self.technique.embedded_tokens(self.plan.manifest.method)

    def run(self, until: int | None = None) -> TrainResult:
        """Train to the end (or to step `until`), keep the best weights, write `adapter/`.

        Raises:
            Refused: the loss is not finite, or the training diverged.
        """
        plan, progress = self.plan, self.progress
        watch = Divergence(progress.first_losses, progress.smoothed)
        epoch, batches = -1, list[list[int]]()
        while progress.step < (until or plan.steps) and not progress.stopped_early:
            if progress.step // plan.steps_per_epoch != epoch:
                epoch = progress.step // plan.steps_per_epoch
                batches = self._batches(epoch)
            started = time.perf_counter()
            rate, loss, norm, tokens = self._step(batches[progress.step % plan.steps_per_epoch])
            progress.step += 1
            progress.tokens += tokens
            progress.seconds += time.perf_counter() - started
            progress.loss = loss
            if why := watch.message(loss, norm):
                self._refuse(why, rate)
            progress.first_losses, progress.smoothed = watch.first, watch.smoothed
            self._say(
                "step",
                step=progress.step,
                steps=plan.steps,
                loss=round(loss, 5),
                gradient_norm=round(norm, 5),
                learning_rate=rate,
                tokens=progress.tokens,
                tokens_per_second=round(progress.tokens / progress.seconds, 1),
                seconds_left=round(
                    progress.seconds / progress.step * (plan.steps - progress.step), 1
                ),
            )
            if progress.step % plan.evaluate_every == 0 or progress.step == plan.steps:
                self._evaluate()
                self.checkpoints.save(progress)
                self._say("checkpoint", step=progress.step)
        return self._finish()

    def _batches(self, epoch: int) -> list[list[int]]:
        return epoch_batches(
            self.rows["train"].lengths,
            self.train_table.batch_size,
            group=self.train_table.group_by_length and not self.train_table.packing,
            seed=self.train_table.seed,
            epoch=epoch,
        )

    def _prefix_can_be_shared(self) -> bool:
        """Whether the plan says so and this model computes the same with it; the longest rows are
        tried, which a sliding window would cut first."""
        if not self.plan.shared_prefix or (
            # A soft prompt's cache goes past what wraps the model for several processes.
            self.technique.soft_prompt and self.accelerator.num_processes > 1
        ):
            return False
        rows = self.rows["train"]
        longest = sorted(range(len(rows)), key=lambda index: -rows.lengths[index])
        alike = computes_alike(
            self._forward,
            rows,
            longest[: self.plan.micro_batch],
            pad=self.pad,
            precision=self.plan.precision,
            virtual_tokens=self._virtual,
        )
        self._say("shared_prefix", tokens=self.plan.shared_prefix, used=alike)
        return alike

    @property
    def _forward(self) -> torch.nn.Module:
        return self.bare if self.technique.soft_prompt else self.model

    def _losses(
        self, rows: EncodedSet, indices: list[int], *, packed: bool
    ) -> tuple[torch.Tensor, int]:
        """Summed loss of a micro batch, and its number of supervised tokens."""
        if self.shares_prefix:
            return shared_losses(self._forward, rows, indices)
        batch = collate(rows, indices, pad=self.pad, packed=packed)
        return token_losses(self.model, batch.to(self.accelerator.device), self._virtual)

    def _step(self, indices: list[int]) -> tuple[float, float, float, int]:
        """One optimizer step; returns learning rate, loss, gradient norm and tokens."""
        rows, table = self.rows["train"], self.train_table
        rate = learning_rate_at(
            self.progress.step,
            self.plan.steps,
            self.plan.learning_rate,
            self.plan.warmup_steps,
            table.schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Every supervised token counts the same, whichever micro batch or process it is in.
        total = sum(int((rows.labels[index][1:] != -100).sum()) for index in indices)
        processes = self.accelerator.num_processes
        mine = indices[self.accelerator.process_index :: processes]
        summed = 0.0
        micros = _chunks(mine, self.plan.micro_batch)
        # Processes wait for one another in every backward pass, so all make as many: one that has
        # no rows left takes another's, and counts nothing.
        most = math.ceil(math.ceil(len(indices) / processes) / self.plan.micro_batch)
        spare = [indices[:1]] * (most - len(micros))
        for number, micro in enumerate([*micros, *spare]):
            loss, count = self._losses(rows, micro, packed=table.packing)
            if number >= len(micros):
                loss, count = loss * 0.0, 0
            summed += float(loss.detach())
            scaled = loss * processes / total
            regularizer = self.technique.extra_loss(self.bare)
            if regularizer is not None:
                scaled = scaled + regularizer * (count * processes / total)
            self.accelerator.backward(scaled)
        summed = self._over_processes(summed)
        parameters = list(self.checkpoints.names)
        norm = float(self.accelerator.clip_grad_norm_(parameters, table.max_grad_norm))
        if math.isfinite(norm) and math.isfinite(summed):
            self.optimizer.step()
            self.technique.before_zero_grad(self.bare, self.progress.step + 1)
        self.optimizer.zero_grad(set_to_none=True)
        tokens = sum(len(rows.input_ids[index]) for index in indices)
        return rate, summed / total, norm, tokens

    def _over_processes(self, value: float) -> float:
        """A sum over all processes, so that they decide alike."""
        if self.accelerator.num_processes == 1:
            return value
        tensor = torch.tensor(value, device=self.accelerator.device)
        return float(self.accelerator.reduce(tensor, reduction="sum"))

    def _evaluate(self) -> None:
        """Validation loss; remembers the best weights, for every method in the same way."""
        progress = self.progress
        loss = self._validation_loss()
        eligible = progress.step >= self.technique.best_from(
            self.plan.manifest.method, self.plan.steps
        )
        better = eligible and (
            loss is None or progress.best_loss is None or loss < progress.best_loss
        )
        if better:
            progress.best_step, progress.best_loss, progress.worse = progress.step, loss, 0
            self.checkpoints.save_best(progress)
        elif eligible:
            progress.worse += 1
            patience = self.train_table.early_stopping
            progress.stopped_early = patience is not None and progress.worse >= patience
        self._say("validation", step=progress.step, loss=loss, best=better)

    def _validation_loss(self) -> float | None:
        rows = self.rows.get("validation")
        if not rows:
            return None
        self.model.eval()
        total, tokens = 0.0, 0
        order = sorted(range(len(rows)), key=lambda index: rows.lengths[index])
        with torch.no_grad():
            for micro in _chunks(order, max(self.plan.micro_batch, 1)):
                loss, count = self._losses(rows, micro, packed=False)
                total, tokens = total + float(loss), tokens + count
        self.model.train()
        return total / tokens

    def _refuse(self, why: str, rate: float) -> None:
        self._say("diverged", step=self.progress.step, reason=why)
        raise Refused(
            f"training stopped at step {self.progress.step}: {why}",
            hint=f"lower `train.learning_rate` (here {rate:.3g}, usual for "
            f"`{self.technique.kind}`: {self.technique.learning_rate.value:g}), "
            "or look at the last rows with `adapters data inspect`",
        )

    def _finish(self) -> TrainResult:
        """Put the best weights back and write them as the method's own adapter."""
        progress = self.progress
        self.checkpoints.put_best_back(progress)
        result = TrainResult(
            steps=progress.step,
            best_step=progress.best_step,
            best_loss=progress.best_loss,
            train_loss=progress.loss,
            tokens_per_second=progress.tokens / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            peak_memory=self.memory.bytes(),
            stopped_early=progress.stopped_early,
        )
        if self.accelerator.is_main_process:
            save_adapter(self.bare, self.folder / ADAPTER, self.plan)
            (self.folder / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
        self.trackers.close()
        self._say("trained", **asdict(result))
        return result

    def _say(self, event: str, **fields: Any) -> None:
        if self.accelerator.is_main_process:
            self.events.emit(event, **fields)
            self.trackers.log(event, fields)


def _chunks(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def train(
    plan: Plan,
    checkpoint: Path,
    folder: Path,
    rows: dict[str, EncodedSet],
    events: EventLog,
    *,
    pad: int = 0,
) -> TrainResult:
    """Train a plan in this process, continuing from `folder` if it holds a checkpoint."""
    return Trainer(plan, checkpoint, folder, rows, events, pad=pad).run()


def main(folder: Path) -> int:
    """Train the job that `builders/building/run.py` wrote; returns the exit code."""
    from adapterworks.builders.training.job import Job, report_failure

    job = Job.read(folder)
    try:
        Trainer(
            job.plan,
            Path(job.checkpoint),
            folder / "train",
            load_encoded(folder / "encoded.safetensors"),
            EventLog(folder / "events.jsonl", job.parent_watch()),
            pad=job.pad,
        ).run(job.until)
    except Refused as error:
        report_failure(folder, error)
        return 1
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(Path(sys.argv[1])))
