"""How long `adapters --help` takes, beside Python starting to do nothing.

python -m bench.startup
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench.report import Row, figure, interleave, show

RUNS = 11


def run(runs: int = RUNS) -> list[Row]:
    """Measure both in turn."""
    adapters = str(Path(sys.executable).with_name("adapters"))

    def timed(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return 1e3 * (time.perf_counter() - start)

    help_, nothing = interleave(
        runs, lambda: timed(adapters, "--help"), lambda: timed(sys.executable, "-c", "pass")
    )
    return [
        figure("adapters --help", "ms", help_, goal="≤200"),
        figure("python -c pass", "ms", nothing),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    show("Startup", run(parser.parse_args().runs), name="startup")
