"""MLflow: the server that `MLFLOW_TRACKING_URI` names.

A run with names of its own is kept by MLflow's client itself, which adds nothing: no user, no
program, no repository.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from adapterworks.builders.training.trackers.tracker import Label, kept_id, of_accelerate


class Run:
    """A run in an experiment of its own."""

    def __init__(self, label: Label, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._id = kept_id(folder, "mlflow", lambda: self._new(label))
        # One that was resumed had ended with the process before.
        self._client.update_run(self._id, status="RUNNING")

    def _new(self, label: Label) -> str:
        found = self._client.get_experiment_by_name(label.project)
        experiment = (
            self._client.create_experiment(label.project) if found is None else found.experiment_id
        )
        tags = dict.fromkeys(label.tags, "true")
        run = self._client.create_run(experiment, run_name=label.run, tags=tags)
        return str(run.info.run_id)

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Take the numbers of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step or 0) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def finish(self) -> None:
        """The training has ended."""
        self._client.set_terminated(self._id)


TRACKER = of_accelerate("mlflow", "MLflow: the server that `MLFLOW_TRACKING_URI` names", Run)
