"""DARE: drop at random and rescale, then sum (Yu et al. 2023, arXiv 2311.03099)."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import on_deltas, on_factors

_WHAT = "DARE: drop at random, rescale, sum"
ON_FACTORS = on_factors("dare_linear", _WHAT, random=True)
ON_DELTAS = on_deltas("dare_linear_svd", _WHAT, random=True)
