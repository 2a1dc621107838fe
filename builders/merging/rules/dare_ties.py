"""DARE's dropping with TIES' signs (arXiv 2311.03099, 2306.01708)."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import on_deltas, on_factors

_WHAT = "DARE's dropping with TIES' signs"
ON_FACTORS = on_factors("dare_ties", _WHAT, random=True)
ON_DELTAS = on_deltas("dare_ties_svd", _WHAT, random=True)
