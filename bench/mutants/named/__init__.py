"""The named defects, a file an area: a closed table.

An entry whose text is no longer found exactly once in its file is a fault of the table, not a kill:
whoever changes the code looks at what the entry meant, and writes it anew.
"""

from __future__ import annotations

from bench.mutants.mutant import Named
from bench.mutants.named import (
    hub,
    limits,
    refs,
    registry,
    requests,
    residency,
    routing,
    statistics,
)

NAMED: dict[str, tuple[Named, ...]] = {
    "limits": limits.NAMED,
    "residency": residency.NAMED,
    "statistics": statistics.NAMED,
    "registry": registry.NAMED,
    "refs": refs.NAMED,
    "requests": requests.NAMED,
    "routing": routing.NAMED,
    "hub": hub.NAMED,
}
