"""All factors side by side: the weighted sum of the deltas, exactly, at the sum of the ranks."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import Rule

RULE = Rule("cat", "The weighted sum of the deltas, exactly; ranks add up", "rows")
