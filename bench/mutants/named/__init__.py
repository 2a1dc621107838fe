"""The named defects, a file an area: a closed table. The file has the name of its area.

An entry whose text is no longer found exactly once in its file is a fault of the table, not a kill:
whoever changes the code looks at what the entry meant, and writes it anew.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bench.mutants.mutant import Named

NAMED: dict[str, tuple[Named, ...]] = {
    found.name: import_module(f"{__name__}.{found.name}").NAMED for found in iter_modules(__path__)
}
