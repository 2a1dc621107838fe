"""How the threads of one product wait for each other on a CPU that others use as well."""

from __future__ import annotations

from collections.abc import Mapping

# Turns that a thread spins before it sleeps. The OpenMP that torch brings spins for milliseconds
# by itself; where the other thread has lost its core meanwhile, it waits for the one that spins.
# Beside two busy loops on two cores a training takes half as long with this, on quiet ones as long
# as without it (docs/log/training.md).
_TURNS = "1000"


def waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to be set before torch is imported; what is said already is the user's and stays.

    Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if environment.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        return {}
    return {"GOMP_SPINCOUNT": _TURNS}
