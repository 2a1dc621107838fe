"""What an engine on a CPU is faster with, and which CPUs there are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FEW_CORES = 8
"""Below it an engine computes on all cores: vLLM would keep one for its front end, half of two."""

_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
_TCMALLOC = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")


def cpu_environment() -> dict[str, str]:
    """What an engine on CPU is faster with; measured in docs/explanation/engine-plugin.md.

    Intel's OpenMP comes with vLLM's wheel, tcmalloc with the system, and both are preloaded, as
    vLLM's documentation advises. A variable that is set already is the user's and stays.
    """
    environment = {
        # OpenMP's threads wait for the next product by spinning: 200 ms, if nobody says otherwise,
        # in which the gateway and the engine's own front end would have no core.
        "KMP_BLOCKTIME": "1",
        # glibc's malloc, where there is no tcmalloc: what a layer frees stays for the next layer,
        # instead of going back to the kernel and being faulted in again, page by page.
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    }
    if len(usable_cpus()) < FEW_CORES:
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    openmp = Path(sys.prefix, "lib", "libiomp5.so")
    libraries = [str(path) for path in (openmp, tcmalloc()) if path is not None and path.exists()]
    return environment | ({"LD_PRELOAD": ":".join(libraries)} if libraries else {})


def tcmalloc() -> Path | None:
    """The system's tcmalloc, if it is installed."""
    paths = (Path(folder, name) for folder in _LIBRARY_FOLDERS for name in _TCMALLOC)
    return next((path for path in paths if path.exists()), None)


def usable_cpus() -> set[int]:
    """Numbers of the CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere there is no way to ask
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
