"""A and B averaged each for itself: cheap, with cross terms B₁·A₂."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import Rule

RULE = Rule("linear", "A and B averaged each for itself: cheap, with cross terms", "factors")
