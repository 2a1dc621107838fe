"""The smallest numbers dropped, then summed."""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import on_deltas, on_factors

_WHAT = "The smallest numbers dropped, then summed"
ON_FACTORS = on_factors("magnitude_prune", _WHAT)
ON_DELTAS = on_deltas("magnitude_prune_svd", _WHAT)
