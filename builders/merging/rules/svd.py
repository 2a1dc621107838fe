"""The weighted sum of the deltas, cut at a rank by singular values."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import Rule

RULE = Rule("svd", "The weighted sum of the deltas, cut at a rank", "deltas")
