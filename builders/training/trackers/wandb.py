"""Weights & Biases: needs an account, or `WANDB_MODE=offline`."""

from __future__ import annotations

from adapterworks.builders.training.trackers.tracker import of_accelerate

TRACKER = of_accelerate("wandb", "Weights & Biases: needs an account, or `WANDB_MODE=offline`")
