"""MLflow: the server that `MLFLOW_TRACKING_URI` names."""

from __future__ import annotations

from adapterworks.builders.training.trackers.tracker import of_accelerate

TRACKER = of_accelerate("mlflow", "MLflow: the server that `MLFLOW_TRACKING_URI` names")
