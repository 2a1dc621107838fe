"""`make bench`: every measurement, one after the other, each in a process of its own.

    python -m bench [--short] [--only NAME …] [--output FILE]

Writes bench/results/all.json, or FILE: all figures with their ranges, the machine and its
calibration. `python -m bench.compare OLD NEW` says what moved between two such files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.report import RESULTS, save, saved, show

# In order of length; each says its own name and writes bench/results/<name>.json where it has rows.
MEASUREMENTS = (
    "startup",
    "gateway_hop",
    "hot_load",
    "proof_cost",
    "registry_scale",
    "build_throughput",
    "build_time",
    "engine_lora",
    "engine_settings",
)
# What a minute shows: nothing else is installed, no engine is started, no model is trained.
SHORT: dict[str, tuple[str, ...]] = {
    "startup": ("--runs", "5"),
    "gateway_hop": ("--without", "envoy", "litellm", "--rounds", "3", "--seconds", "0.3"),
    "registry_scale": ("--sizes", "100", "1000", "--database", "sqlite"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them all, then print one table; the exit code counts those that did not finish."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python -m bench --short --output before.json",
    )
    parser.add_argument("--short", action="store_true", help="a minute of them")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, help="these alone")
    parser.add_argument("--output", type=Path, default=RESULTS / "all.json", help="JSON")
    options = parser.parse_args(arguments)
    failed, finished = 0, []
    for name in options.only or (SHORT if options.short else MEASUREMENTS):
        print(f"\nbench: {name}", flush=True)
        short = SHORT.get(name, ()) if options.short else ()
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *short]).returncode:
            failed += 1
        else:
            finished.append(name)
    print()
    rows = [row for name in finished for row in saved(name)]
    show("All measurements", rows)
    print(f"written to {save(rows, options.output.stem, folder=options.output.parent)}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
