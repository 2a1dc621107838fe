"""Trackio: a local dashboard."""

from __future__ import annotations

from adapterworks.builders.training.trackers.tracker import of_accelerate

TRACKER = of_accelerate("trackio", "Trackio: a local dashboard")
