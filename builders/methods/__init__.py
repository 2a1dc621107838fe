"""Fine-tuning methods: one file each, built in or of an installed distribution, found by name."""

from __future__ import annotations

from typing import Any

from adapterworks.builders.methods.technique import Technique
from adapterworks.manifests.extensions import Table

METHODS: Table[Technique[Any]] = Table("methods", Technique)  # type: ignore[type-abstract]
