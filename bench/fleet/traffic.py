"""What is asked of a simulated fleet: when, of which gateway, for which adapter, how much."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapterworks.gateway.residency.popularity import HALF_LIFE


@dataclass(frozen=True, slots=True)
class Size:
    """How large a fleet is.

    Attributes:
        capacity: adapters that one engine holds.
        parallel: sequences that one engine works on at once.
        exponent: of Zipf's law; 0 asks for all adapters alike.
        busy: share of all sequences that are under way on average, if nobody waits for a load.
    """

    gateways: int
    engines: int
    adapters: int
    requests: int
    capacity: int = 16
    parallel: int = 64
    exponent: float = 1.0
    busy: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that things take; the defaults are of the log of measurements, rounded.

    Attributes:
        load: the engine's own load, and what the gateway does around it.
        proof: one prefill a probe.
        first: a prompt's prefill.
        token: between two tokens of a sequence, whatever else is in the batch.
        look: between two looks at what an engine lists.
        half_life: of a request in what a gateway counts.
    """

    load: float = 0.22
    proof: float = 0.2
    first: float = 0.1
    token: float = 0.03
    look: float = 10.0
    half_life: float = HALF_LIFE


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in order of arrival; arrays of equal length.

    Attributes:
        at: seconds.
        adapter: its number.
        seconds: from its first token to its last.
        digests: of all adapters, by number.
    """

    at: NDArray[np.float64]
    gateway: NDArray[np.int64]
    adapter: NDArray[np.int64]
    seconds: NDArray[np.float64]
    digests: tuple[str, ...]


def make_traffic(size: Size, times: Times) -> Traffic:
    """Poisson arrivals, Zipf adapters, 16 to 256 tokens; gateways by chance, as a balancer does."""
    draw = np.random.default_rng(size.seed)
    weights = 1.0 / np.arange(1, size.adapters + 1) ** size.exponent
    tokens = draw.integers(16, 257, size.requests)
    seconds = tokens * times.token
    rate = size.busy * size.engines * size.parallel / float(times.first + seconds.mean())
    return Traffic(
        at=np.cumsum(draw.exponential(1 / rate, size.requests)),
        gateway=draw.integers(size.gateways, size=size.requests),
        adapter=draw.choice(size.adapters, size.requests, p=weights / weights.sum()),
        seconds=seconds,
        digests=tuple(
            f"sha256:{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(size.adapters)
        ),
    )
