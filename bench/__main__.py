"""`make bench`: every measurement, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from bench.report import saved, show

# In order of length; each says its own name and writes bench/results/<name>.json where it has rows.
MEASUREMENTS = (
    "startup",
    "gateway_hop",
    "hot_load",
    "proof_cost",
    "registry_scale",
    "build_throughput",
    "engine_lora",
    "engine_settings",
)


def main() -> int:
    """Run them all, then print one table; the exit code counts those that did not finish."""
    failed, finished = 0, []
    for name in MEASUREMENTS:
        print(f"\nbench: {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode:
            failed += 1
        else:
            finished.append(name)
    print()
    show("All measurements", [row for name in finished for row in saved(name)], name="all")
    return failed


if __name__ == "__main__":
    sys.exit(main())
