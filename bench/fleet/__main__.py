"""Where requests go in a fleet too large to have here, by the gateway's own decisions.

    python -m bench.fleet                  10 gateways, 50 engines, 5,000 adapters, Zipf 1.0
    python -m bench.fleet --gateways 50 --engines 500 --adapters 50000 --requests 400000

Each way to choose an engine has the same requests. `cold` is the share of requests that waited for
an engine to load their adapter, after a fifth of the requests, when the places are full; seconds
are simulated, from an arrival to the first token. The oracle has the same places in one pool, knows
all arrivals, and never waits for anything but loads.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from adapterworks.gateway.engines.routing import Seen
from bench.fleet.oracle import belady
from bench.fleet.policies import POLICIES, ours
from bench.fleet.simulate import Simulation
from bench.fleet.traffic import Size, Times, Traffic, make_traffic

_WARM = 0.2
_IDLE = Seen(0, 1, False)


def main() -> None:
    """Run each policy over the same traffic and print the table."""
    size, only = _asked()
    times = Times()
    traffic = make_traffic(size, times)
    print(f"{size}\n{times}\n{traffic.at[-1]:.0f} simulated seconds\n")
    print("| engine chosen | cold | loads | p50 s | p95 s | p99 s | µs a decision and its events |")
    print("|---|---|---|---|---|---|---|")
    for name in only or POLICIES:
        began = time.process_time()
        out = Simulation(size, times, traffic, POLICIES[name](size.engines)).run()
        spent = (time.process_time() - began) / size.requests
        _row(name, size, np.array(out.cold), np.array(out.first), out.loads, f"{spent * 1e6:.0f}")
    found = np.array(belady(traffic, size.engines * size.capacity))
    first = np.where(found, 0.0, times.load + times.proof) + times.first
    _row("oracle", size, ~found, first, int((~found).sum()), "")
    print(f"\nwithout its first engine: {_moved(size, traffic):.2%} of the adapters move")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the whole simulation: {peak:.0f} MiB")


def _row(name: str, size: Size, cold: np.ndarray, first: np.ndarray, loads: int, us: str) -> None:
    warm = int(size.requests * _WARM)
    p50, p95, p99 = np.quantile(first[warm:], (0.5, 0.95, 0.99))
    share = cold[warm:].mean()
    print(
        f"| {name} | {share:.1%} | {loads:,} | {p50:.2f} | {p95:.2f} | {p99:.2f} | {us} |",
        flush=True,
    )


def _moved(size: Size, traffic: Traffic) -> float:
    """Share of the adapters that have another engine when the first one is taken out."""
    with_it, without = ours(size.engines), ours(size.engines, gone=1)
    before = [with_it(digest, lambda _: _IDLE) for digest in traffic.digests]
    after = [without(digest, lambda _: _IDLE) for digest in traffic.digests]
    return sum(b != a for b, a in zip(before, after, strict=True)) / len(before)


def _asked() -> tuple[Size, list[str] | None]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole = {"gateways": 10, "engines": 50, "adapters": 5000, "requests": 200_000}
    for name, value in {**whole, "capacity": 16, "parallel": 64, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law")
    parser.add_argument("--busy", type=float, default=0.25, help="share of sequences under way")
    parser.add_argument("--only", action="append", choices=sorted(POLICIES))
    options = vars(parser.parse_args())
    only = options.pop("only")
    return Size(**options), only


if __name__ == "__main__":
    main()
