"""`make bench`: every measurement, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

# In order of length; each says its own name and writes bench/results/<name>.json where it has rows.
MEASUREMENTS = (
    "startup",
    "gateway_hop",
    "hot_load",
    "registry_scale",
    "build_throughput",
    "engine_lora",
)


def main() -> int:
    """Run them all; the exit code counts those that did not finish."""
    failed = 0
    for name in MEASUREMENTS:
        print(f"\nbench: {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
