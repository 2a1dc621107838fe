"""Optimizers: one file each, built in or of an installed distribution, found by name."""

from __future__ import annotations

from adapterworks.builders.optimizers.optimizer import Optimizer
from adapterworks.manifests.extensions import Table

OPTIMIZERS: Table[Optimizer] = Table("optimizers", Optimizer)
