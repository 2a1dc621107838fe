"""Objectives: what is learnt from rows, one file each (see `objective.py`)."""

from adapterworks.builders.objectives.objective import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Objective"]
