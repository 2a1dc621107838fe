"""The learning rate's course after warm-up: one file each, found by name."""

from __future__ import annotations

from adapterworks.builders.schedules.schedule import Schedule
from adapterworks.manifests.extensions import Table

SCHEDULES: Table[Schedule] = Table("schedules", Schedule)
