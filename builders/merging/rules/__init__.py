"""The rules by which adapters are merged, under the names PEFT gives them (`combination_type`).

One file a rule; those that prune come in two forms, on A and B each for itself, and, `_svd`, on the
deltas as their papers define them, cut at a rank.
"""

from __future__ import annotations

from adapterworks.builders.merging.rules.rule import Rule
from adapterworks.manifests.extensions import Table

RULES: Table[Rule] = Table("merge_rules", Rule)
