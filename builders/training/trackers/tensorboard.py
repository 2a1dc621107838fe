"""TensorBoard: files in the build's folder, under `trackers/`."""

from __future__ import annotations

from adapterworks.builders.training.trackers.tracker import of_accelerate

TRACKER = of_accelerate(
    "tensorboard", "TensorBoard: files in the build's folder, under `trackers/`"
)
