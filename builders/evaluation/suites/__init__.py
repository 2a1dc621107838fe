"""General suites that retention scores before and after a training: one file each."""

from __future__ import annotations

from adapterworks.builders.evaluation.suites.suite import Suite
from adapterworks.manifests.extensions import Table

SUITES: Table[Suite] = Table("retention_suites", Suite)
