"""Training: one compact loop for every method, resumable to the bit (see docs/adr).

Invariant: the state after step n is a function of plan and rows alone, and a checkpoint holds all
of it: a training that was killed and resumed ends with the weights of one that was not, to the
bit on a CPU, and on a GPU with `train.deterministic` (`determinism.py`).

A process of its own, started by `builders/training/job.py`:

    python -P -m adapterworks.builders.training.loop BUILD_DIRECTORY
"""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.alarms import Watch, stopped_by
from adapterworks.builders.objectives.objective import LOSS, objective_of
from adapterworks.builders.objectives.sampled import Sampled
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.facts import ANCHOR
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.abilities import (
    find_projection,
    many_together,
    prefix_can_be_shared,
    require_packing,
)
from adapterworks.builders.training.anchor import make_anchor
from adapterworks.builders.training.answers import Given, make_sampling
from adapterworks.builders.training.arithmetic import Divergence
from adapterworks.builders.training.batches import EncodedSet, load_encoded
from adapterworks.builders.training.checkpoint import Checkpoints, Progress
from adapterworks.builders.training.determinism import is_deterministic, make_deterministic
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.model import (
    build_model,
    save_adapter,
)
from adapterworks.builders.training.peak import PeakMemory
from adapterworks.builders.training.prepare import batches_of, prepare
from adapterworks.builders.training.processes import draw_apart, make_accelerator
from adapterworks.builders.training.reference import (
    Beginning,
    compare_with_reference,
    with_reference,
)
from adapterworks.builders.training.result import TrainResult
from adapterworks.builders.training.sampling import Sampling
from adapterworks.builders.training.saving import Saving
from adapterworks.builders.training.sharding import (
    gathered_are_given_back,
)
from adapterworks.builders.training.state import load_trainable, trained
from adapterworks.builders.training.step import Step, Stepper
from adapterworks.builders.training.tensor_file import Tensors, write_tensors
from adapterworks.builders.training.trackers import make_trackers
from adapterworks.manifests.errors import AdapterworksError, Refused
from adapterworks.manifests.objective import START

ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"


class Trainer:
    """One training of one plan.

    Args:
        plan: what to do.
        checkpoint: the base's folder.
        folder: receives checkpoints and, at the end, `adapter/`.
        rows: `train` and, if there are any, `validation`.
        events: receives a line per step, evaluation and checkpoint.
        pad: the token id that padding is filled with (it is masked).
        start: the folder of the adapter that is continued, if one is.
        reference: the folder of the adapter that is the reference, where it is one.
        engine: where an engine samples, if one does (`engine_sampler.py`).
        reward: the folder of the reward's adapter, where a release rewards.
        separator: what its steps end with, where it judges steps.
        teacher: the folder of the teacher's adapter, where it has one.
        teacher_model: the folder of the teacher's own checkpoint, where it has one.
    """

    def __init__(
        self,
        plan: Plan,
        checkpoint: Path,
        folder: Path,
        rows: dict[str, EncodedSet],
        events: EventLog,
        *,
        pad: int,
        start: Path | None = None,
        reference: Path | None = None,
        engine: str | None = None,
        reward: Path | None = None,
        separator: str | None = None,
        teacher: Path | None = None,
        teacher_model: Path | None = None,
    ) -> None:
        self.plan, self.folder, self.events, self.pad = plan, folder, events, pad
        self.train_table = plan.manifest.train
        self.objective = objective_of(plan.manifest)
        self.technique = METHODS[plan.manifest.method.kind]
        self.memory = PeakMemory(plan.device)
        self.trackers = make_trackers(plan, folder)
        self.trackers.lost = self._lost_tracker
        self.accelerator = make_accelerator(plan)
        alone = self.accelerator.num_processes == 1
        self.sharding = "none" if alone else plan.manifest.train.sharding
        self.base, self.start = checkpoint, start
        prepared = prepare(
            plan,
            checkpoint,
            start,
            self.objective,
            self.accelerator,
            rows["train"],
            pad=pad,
            sharding=self.sharding,
        )
        self.bare, self.model, self.optimizer = prepared.bare, prepared.model, prepared.optimizer
        self.forward = Forward(
            self.objective,
            self.model,
            self.bare,
            self.technique.soft_prompt,
            self.technique.embedded_tokens(plan.manifest.method),
            pad,
            critic=prepared.critic,
        )
        self.forward.projection = find_projection(
            self.forward, rows["train"], plan, in_parts=self.sharding != "none"
        )
        if self.forward.projection is None and many_together(rows["train"], plan):
            self._say("whole_logits", reason="of this base they cannot be computed in parts")
        if plan.packed_to is not None:
            rows = {**rows, "train": rows["train"].in_packs(plan.packed_to)}
            self.forward.side_by_side = True
        if self.train_table.packing:
            require_packing(self.forward, rows["train"], plan)
        if plan.shared_prefix:
            self.forward.shares_prefix = prefix_can_be_shared(
                self.forward, rows["train"], plan, alone=alone
            )
            used = self.forward.shares_prefix
            self._say("shared_prefix", tokens=plan.shared_prefix, used=used)
        gathered_are_given_back(self.bare)
        earlier = rows.get(ANCHOR)
        rows = {split: examples for split, examples in rows.items() if split != ANCHOR}
        anchor = make_anchor(
            self.train_table.anchor, earlier, self.forward, folder, self.accelerator
        )
        self.rows = with_reference(rows, self.forward, plan, folder, self.accelerator, reference)
        self.beginning: Beginning | None = None
        if plan.reference is not None:
            self.beginning = compare_with_reference(self.rows["train"], self.forward, plan)
            self._say("reference", **asdict(self.beginning))
            own = plan.reference == START or self.technique.whole_model
            if self.objective.rollouts and reference is None and own:
                self.forward.keep_start()  # what is sampled later on is measured against it
        self.checkpoints = Checkpoints(
            folder / CHECKPOINTS,
            self.bare,
            self.optimizer,
            self.technique,
            self.accelerator,
            OPTIMIZERS[self.train_table.optimizer].remembers,
        )
        draw_apart(self.accelerator, plan.manifest.train.seed)
        self.saving = Saving(self.train_table.save_every)
        restored = self.checkpoints.restore()
        self.progress = restored or Progress()
        if restored:
            self._say("resumed", step=self.progress.step)
        self.optimizer.train()  # of one that averages: to where gradients are taken
        given = Given(reference, reward, separator, teacher, teacher_model)
        self.rollouts: Sampling | None = None
        if isinstance(self.objective, Sampled):
            self.rollouts = make_sampling(
                plan,
                self.objective,
                self.forward,
                checkpoint,
                folder,
                given,
                engine,
                self.accelerator,
            )
            if (kept := self.rollouts.companion) is not None:
                self.checkpoints.join("teacher", kept)
            self.rollouts.forget_from(self.progress.step)
        self.stepper = Stepper(
            plan,
            self.forward,
            self.technique,
            self.accelerator,
            self.optimizer,
            self.rows["train"],
            list(self.checkpoints.names),
            anchor,
        )

    def run(self, until: int | None = None) -> TrainResult:
        """Train to the end (or to step `until`), keep the best weights, write `adapter/`.

        Raises:
            Refused: the loss is not finite, the training diverged, or an alarm stops it, with a
                checkpoint to go on from.
        """
        try:
            return self._train(until)
        finally:
            self.trackers.close()
            if self.rollouts is not None:
                self.rollouts.close()

    def _train(self, until: int | None) -> TrainResult:
        plan, progress, saving = self.plan, self.progress, self.saving
        watch = Divergence(self.objective.diverged_above, progress.first_losses, progress.smoothed)
        epoch: int | None = None
        batches: list[list[int]] = []
        while progress.step < (until or plan.steps) and not progress.stopped_early:
            if progress.step // plan.steps_per_epoch != epoch:
                epoch = progress.step // plan.steps_per_epoch
                batches = batches_of(plan, epoch, self.rows["train"])
            started = time.perf_counter()
            step = self._step(batches[progress.step % plan.steps_per_epoch])
            progress.step += 1
            progress.tokens += step.tokens
            progress.seconds += time.perf_counter() - started
            progress.loss = step.loss
            if why := watch.message(step.loss, step.norm):
                self._refuse(why, step.rate)
            progress.first_losses, progress.smoothed = watch.first, watch.smoothed
            self._say(
                "step",
                step=progress.step,
                steps=plan.steps,
                loss=round(step.loss, 5),
                **{name: round(value, 5) for name, value in step.metrics.items()},
                gradient_norm=round(step.norm, 5),
                learning_rate=step.rate,
                tokens=progress.tokens,
                tokens_per_second=round(progress.tokens / progress.seconds, 1),
                seconds_left=round(
                    progress.seconds / progress.step * (plan.steps - progress.step), 1
                ),
            )
            stop = self._alarmed(step)
            if progress.step % plan.evaluate_every == 0 or progress.step == plan.steps:
                self.optimizer.eval()
                self._evaluate()
                self.optimizer.train()
                self._save()
            elif stop is not None or saving.due(self.accelerator):
                self._save()
            if stop is not None:
                raise stop
        return self._finish()

    def _save(self) -> None:
        self.checkpoints.save(self.progress)
        if self.rollouts is not None:
            self.rollouts.sampler.durable()
        self.saving.done()
        self._say("checkpoint", step=self.progress.step)

    def _step(self, indices: list[int]) -> Step:
        number = self.progress.step
        if self.rollouts is None:
            return self.stepper.take(indices, number)
        sampled = self.rollouts.collect(self.rows["train"], indices, number)
        self.stepper.rows = sampled.rows
        examples, seed = len(sampled.rows), self.rollouts.seed(number)
        parts = self.rollouts.objective.updates(examples, seed) if examples else []
        taken = self.stepper.take_each(parts, number)
        self.rollouts.stepped()
        return replace(taken, metrics={**taken.metrics, **sampled.metrics})

    def _evaluate(self) -> None:
        """What the objective reports of the validation rows; remembers the best weights, for every
        method in the same way."""
        progress, values = self.progress, self._validate()
        gathered_are_given_back(self.bare)
        value = None if values is None else values[self.objective.reports]
        eligible = progress.step >= self.technique.best_from(
            self.plan.manifest.method, self.plan.steps
        )
        better = eligible and (
            value is None
            or progress.best_value is None
            or self.objective.better(value, progress.best_value)
        )
        if better:
            progress.best_step, progress.best_value, progress.worse = progress.step, value, 0
            self.checkpoints.save_best(progress)
        elif eligible:
            progress.worse += 1
            patience = self.train_table.early_stopping
            progress.stopped_early = patience is not None and progress.worse >= patience
        shown: dict[str, Any] = {LOSS: None} if values is None else {**values}
        self._say("validation", step=progress.step, **shown, best=better)

    def _validate(self) -> dict[str, Any] | None:
        """Loss and metrics on the validation rows; None without rows."""
        rows = self.rows.get("validation")
        if rows and self.rollouts is not None:
            return {LOSS: None, **self.rollouts.measured(rows)}
        if not rows:
            return None
        return self.forward.measured(rows, self.plan.micro_batch, self.accelerator)

    def _alarmed(self, step: Step) -> Refused | None:
        """Look whether what is sampled has gone wrong; returns why to stop, if so."""
        if self.rollouts is None:
            return None
        table, progress = self.rollouts.objective.settings.alarms, self.progress
        watch, stop = Watch(**(progress.alarms or {})), None
        for alarm in watch.look(table, progress.step, step.metrics, self.rollouts.highest):
            # At the last step there is nothing left to stop.
            stops = table.action == "stop" and progress.step < self.plan.steps
            self._say("alarm", **watch.keep(alarm, "stop" if stops else "warn"))
            if stops:
                watch.forgive(alarm.name)
                objective, name = self.rollouts.objective, self.plan.manifest.adapter.name
                stop = stopped_by(alarm, name, objective.wrong, objective.changed)
        progress.alarms = asdict(watch)
        return stop

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
        self.optimizer.eval()
        self.checkpoints.put_best_back(progress)
        result = TrainResult(
            steps=progress.step,
            best_step=progress.best_step,
            best_value=progress.best_value,
            reported=self.objective.reports,
            unit=self.objective.unit,
            train_loss=progress.loss,
            tokens_per_second=progress.tokens / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            peak_memory=self.memory.bytes(),
            stopped_early=progress.stopped_early,
            beginning=None if self.beginning is None else asdict(self.beginning),
            alarms=(progress.alarms or {}).get("rung", []),
            deterministic=is_deterministic(),
        )
        model = self._whole()
        if model is not None:
            save_adapter(model, self.folder / ADAPTER, self.plan)
            (self.folder / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
        self._say("trained", **asdict(result))
        return result

    def _whole(self) -> nn.Module | None:
        """The model with all its weights, in the first process; of one in parts all give theirs."""
        parts, first = self.folder / "whole.safetensors", self.accelerator.is_main_process
        if self.sharding == "none":
            return self.bare if first else None
        write_tensors(parts, trained(self.bare), here=first)
        if not first:
            return None
        model = build_model(self.base, self.plan, self.start, device="cpu")
        load_trainable(model, Tensors(parts))
        parts.unlink()
        return model

    def _lost_tracker(self, name: str, why: str) -> None:
        self._say("tracker_lost", step=self.progress.step, tracker=name, message=why)

    def _say(self, event: str, **fields: Any) -> None:
        if self.accelerator.is_main_process:
            self.events.emit(event, **fields)
            self.trackers.log(event, fields)


def main(folder: Path) -> int:
    """Train the job that `builders/building/run.py` wrote; returns the exit code."""
    from adapterworks.builders.training.failure import out_of_memory, report_failure, wants_memory
    from adapterworks.builders.training.job import Job

    job = Job.read(folder)
    make_deterministic(job.plan)
    try:
        Trainer(
            job.plan,
            Path(job.checkpoint),
            folder / "train",
            load_encoded(folder / "encoded.safetensors"),
            EventLog(folder / "events.jsonl", job.parent_watch()),
            pad=job.pad,
            start=None if job.start is None else Path(job.start),
            reference=None if job.reference is None else Path(job.reference),
            engine=job.engine,
            reward=None if job.reward is None else Path(job.reward),
            separator=job.separator,
            teacher=None if job.teacher is None else Path(job.teacher),
            teacher_model=None if job.teacher_model is None else Path(job.teacher_model),
        ).run(job.until)
    except AdapterworksError as error:
        report_failure(folder, error)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not wants_memory(error):
            raise
        traceback.print_exc()
        report_failure(folder, out_of_memory(job.plan))
        return 1
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(Path(sys.argv[1])))
