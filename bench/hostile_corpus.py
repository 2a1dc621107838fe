"""Print what an import says to every adapter of the hostile corpus.

Each case is a folder made by `tests/registry/imports/hostile`; each must be refused with its own
message, naming file and reason, with torch never imported.

    python -m bench.hostile_corpus [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from adapterworks.registry.imports.adapter import check_adapter
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.modules import read_modules
from tests.registry.imports.hostile.cases import load_cases
from tests.registry.imports.hostile.good import write_adapter, write_base


def refusals() -> list[tuple[str, str | None]]:
    """Every case's name and its message; `None` if it was taken."""
    rows: list[tuple[str, str | None]] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = read_modules(write_base(Path(scratch) / "base"))
        for case in load_cases():
            root = Path(scratch) / case.name
            folder = write_adapter(root / "adapter")
            (root / "clean").mkdir()
            source = case.spoil(folder) or folder
            try:
                check_adapter(source, root / "clean", modules=lambda: base, base_name="tiny")
                rows.append((case.name, None))
            except ImportRefused as refusal:
                rows.append((case.name, refusal.message))
    return rows


def main() -> int:
    """Print the table; exit code 1 if a case was taken or torch was imported."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = refusals()
    taken = [name for name, message in rows if message is None]
    if arguments.json:
        json.dump(dict(rows), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        width = max(len(name) for name, _ in rows)
        for name, message in rows:
            sys.stdout.write(f"{name:<{width}}  {message or 'TAKEN'}\n")
        sys.stdout.write(
            f"\n{len(rows)} hostile adapters, {len(rows) - len(taken)} refused, "
            f"torch imported: {'yes' if 'torch' in sys.modules else 'no'}\n"
        )
    return 1 if taken or "torch" in sys.modules else 0


if __name__ == "__main__":
    sys.exit(main())
