"""The named defects, a file an area: a closed table.

An entry whose text is no longer found exactly once in its file is a fault of the table, not a kill:
whoever changes the code looks at what the entry meant, and writes it anew.
"""

from __future__ import annotations

from bench.mutants.mutant import Named
from bench.mutants.named import (
    data,
    limits,
    objectives,
    plan,
    refs,
    registry,
    residency,
    statistics,
)

NAMED: dict[str, tuple[Named, ...]] = {
    "limits": limits.NAMED,
    "residency": residency.NAMED,
    "statistics": statistics.NAMED,
    "registry": registry.NAMED,
    "refs": refs.NAMED,
    "data": data.NAMED,
    "plan": plan.NAMED,
    "objectives": objectives.NAMED,
}
