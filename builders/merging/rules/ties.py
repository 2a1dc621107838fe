"""TIES: trim, elect signs, merge (Yadav et al. 2023, arXiv 2306.01708)."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import on_deltas, on_factors

_WHAT = "TIES: trim, elect signs, merge"
ON_FACTORS = on_factors("ties", _WHAT)
ON_DELTAS = on_deltas("ties_svd", _WHAT)
