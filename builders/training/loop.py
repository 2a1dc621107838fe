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
from adapterworks.builders.objectives.objective import LOSS, objective_of
from adapterworks.builders.objectives.sampled import Sampled
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.facts import ANCHOR
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.alarms import check_alarms
from adapterworks.builders.training.anchor import make_anchor
from adapterworks.builders.training.answers import Given, make_sampling
from adapterworks.builders.training.arithmetic import Divergence
from adapterworks.builders.training.batches import EncodedSet, load_encoded
from adapterworks.builders.training.checkpoint import Checkpoints, Progress
from adapterworks.builders.training.determinism import is_deterministic, make_deterministic
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.layout import lay_out
from adapterworks.builders.training.model import gathered_model, save_adapter
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
from adapterworks.builders.training.sharding import gathered_are_given_back
from adapterworks.builders.training.step import Step, Stepper
from adapterworks.builders.training.stop_request import StopRequest
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
        stop_request: asked after each step whether it is to end.
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
        stop_request: StopRequest | None = None,
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
        in_parts = self.sharding != "none"
        learnt = lay_out(
            self.forward, rows["train"], plan, in_parts=in_parts, alone=alone, say=self._say
        )
        gathered_are_given_back(self.bare)
        earlier = rows.get(ANCHOR)
        rows = {**rows, "train": learnt}
        rows.pop(ANCHOR, None)
        anchor = make_anchor(
            self.train_table.anchor, earlier, self.forward, folder, self.accelerator
        )
        self.rows = with_reference(rows, self.forward, plan, folder, self.accelerator, reference)
        self.beginning = self._compared(reference)
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
        self.stop_request = stop_request or StopRequest(folder)
        restored = self.checkpoints.restore()
        self.progress = restored or Progress()
        if restored:
            self._say("resumed", step=self.progress.step)
        self.optimizer.train()  # of one that averages: to where gradients are taken
        given = Given(reference, reward, separator, teacher, teacher_model)
        self.rollouts = self._sampling(given, engine)
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

    def _compared(self, reference: Path | None) -> Beginning | None:
        """How far the policy is from its reference before the first step; None without one."""
        plan = self.plan
        if plan.reference is None:
            return None
        beginning = compare_with_reference(self.rows["train"], self.forward, plan)
        self._say("reference", **asdict(beginning))
        own = plan.reference == START or self.technique.whole_model
        if self.objective.rollouts and reference is None and own:
            self.forward.keep_start()  # what is sampled later on is measured against it
        return beginning

    def _sampling(self, given: Given, engine: str | None) -> Sampling | None:
        """What answers are sampled with, where the objective learns from sampled ones."""
        if not isinstance(self.objective, Sampled):
            return None
        rollouts = make_sampling(
            self.plan,
            self.objective,
            self.forward,
            self.base,
            self.folder,
            given,
            engine,
            self.accelerator,
        )
        if (kept := rollouts.companion) is not None:
            self.checkpoints.join("teacher", kept)
        rollouts.forget_from(self.progress.step)
        return rollouts

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
            self._say_step(step)
            stop = self._alarmed(step) or self.stop_request.reason(
                self.accelerator, progress.step, until or plan.steps
            )
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

    def _say_step(self, step: Step) -> None:
        progress, steps = self.progress, self.plan.steps
        self._say(
            "step",
            step=progress.step,
            steps=steps,
            loss=round(step.loss, 5),
            **{name: round(value, 5) for name, value in step.metrics.items()},
            gradient_norm=round(step.norm, 5),
            learning_rate=step.rate,
            tokens=progress.tokens,
            tokens_per_second=round(progress.tokens / progress.seconds, 1),
            seconds_left=round(progress.seconds / progress.step * (steps - progress.step), 1),
        )

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
        return check_alarms(self.plan, self.rollouts, self.progress, step.metrics, self._say)

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
        model: nn.Module | None = self.bare if self.accelerator.is_main_process else None
        if self.sharding != "none":
            model = gathered_model(
                self.bare, self.plan, self.base, self.start, self.folder, self.accelerator
            )
        if model is not None:
            save_adapter(model, self.folder / ADAPTER, self.plan)
            (self.folder / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
        self._say("trained", **asdict(result))
        return result

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

    job, stop_request = Job.read(folder), StopRequest(folder)
    make_deterministic(job.plan)
    try:
        trainer = Trainer(
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
            stop_request=stop_request,
        )
        with stop_request.heeding_signals():
            trainer.run(job.until)
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
