"""What `adapters doctor` finds out about the machine, and what would make it faster.

The advice is vLLM's for CPUs (docs: "CPU backend", performance tips) and our own measurements:
AVX-512 for bfloat16 and low-bit kernels, AMX for bfloat16, tcmalloc, one thread a physical core.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adapterworks.doctor.check import Check
from adapterworks.gateway.engines.cpu import tcmalloc, usable_cpus
from adapterworks.manifests.installing import install, installed_version

GIB = 1024**3
_SHM = "/dev/shm"  # noqa: S108 – looked at, not written to


def looks(home: Path) -> Iterator[tuple[str, Callable[[], Check]]]:
    """What there is to look at on this machine, by name, and how.

    Args:
        home: where stores and the metering spool are.
    """
    yield "cpu", lambda: cpu(_text("/proc/cpuinfo"))
    yield (
        "threads",
        lambda: threads(os.environ.get("OMP_NUM_THREADS"), len(usable_cpus()), physical_cores()),
    )
    yield "memory", memory
    yield "shm", shared_memory
    yield "allocator", allocator
    yield "gpu", gpu
    yield "files", open_files
    yield "disk", lambda: disk(home)


def cpu(cpuinfo: str) -> Check:
    """Instruction sets that decide which kernels run."""
    flags = set()
    model = "unknown"
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
        elif key.strip() == "model name":
            model = value.strip()
    known = (
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "amx_bf16",
        "amx_int8",
        "asimd",
        "bf16",
    )
    have = [name for name in known if name in flags]
    finding = f"{model}: {', '.join(have) or 'no vector instructions known'}"
    if "avx2" in flags and "avx512f" not in flags:
        hint = 'without AVX-512 `dtype = "float32"` is 2-3 times faster than bfloat16'
        return Check("cpu", "slow", finding, hint)
    if "avx512f" in flags and "avx512_bf16" not in flags:
        hint = 'bfloat16 has no instructions of its own here: try `dtype = "float32"`'
        return Check("cpu", "slow", finding, hint)
    if "avx512_bf16" in flags and "amx_bf16" not in flags:
        return Check("cpu", "info", finding, "a CPU with AMX would be faster still in bfloat16")
    return Check("cpu", "ok", finding)


def threads(omp: str | None, usable: int, physical: int) -> Check:
    """OpenMP threads against cores."""
    cores = f"{usable} usable CPUs, {physical} physical cores"
    if omp is None:
        return Check("threads", "ok", f"{cores}; OpenMP decides")
    if omp.isdecimal() and int(omp) > usable:
        hint = f"set OMP_NUM_THREADS to at most {min(usable, physical)}: more threads only wait"
        return Check("threads", "slow", f"{cores}; OMP_NUM_THREADS={omp}", hint)
    if omp.isdecimal() and int(omp) < min(usable, physical):
        hint = f"unset OMP_NUM_THREADS or set it to {min(usable, physical)}"
        return Check("threads", "slow", f"{cores}; OMP_NUM_THREADS={omp}", hint)
    return Check("threads", "ok", f"{cores}; OMP_NUM_THREADS={omp}")


def memory() -> Check:
    """Memory that an engine can have: the machine's, or this container's limit if lower."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return Check("memory", "info", "this system does not say how much there is")
    values = dict(re.findall(r"(\w+):\s+(\d+) kB", text))
    total, available = int(values["MemTotal"]) * 1024, int(values["MemAvailable"]) * 1024
    limit = _container_limit()
    finding = f"{available / GIB:.1f} GiB available of {total / GIB:.1f} GiB"
    if limit is not None and limit < total:
        finding += f", container limit {limit / GIB:.1f} GiB"
        available = min(available, limit)
    if available < 4 * GIB:
        hint = "an engine needs its base, the key-value cache and about 2 GiB more; free some"
        return Check("memory", "fail", finding, hint)
    return Check("memory", "ok", finding)


def shared_memory() -> Check:
    """The shared memory through which the engine's processes talk."""
    try:
        size = shutil.disk_usage(_SHM).total
    except OSError:
        hint = "mount a tmpfs there: the engine's processes talk through it"
        return Check("shm", "fail", f"{_SHM} does not exist", hint)
    finding = f"{_SHM} has {size / GIB:.2f} GiB"
    if size < GIB:
        hint = "give it 1 GiB or more: `docker run --shm-size=1g`"
        return Check("shm", "fail" if size < GIB // 8 else "slow", finding, hint)
    return Check("shm", "ok", finding)


def allocator() -> Check:
    """Whether engines on CPU get a fast allocator: the gateway preloads it where there is one."""
    preloaded = os.environ.get("LD_PRELOAD")
    if preloaded is not None:
        if "tcmalloc" in preloaded or "jemalloc" in preloaded:
            return Check("allocator", "ok", f"LD_PRELOAD={preloaded}")
        hint = "LD_PRELOAD is set, so the gateway leaves it as it is: unset it, or add tcmalloc"
        return Check("allocator", "slow", f"LD_PRELOAD={preloaded}", hint)
    if (found := tcmalloc()) is not None:
        return Check("allocator", "ok", f"engines are started with {found}")
    hint = "install tcmalloc (Debian: `libtcmalloc-minimal4`); engines then start with it"
    return Check("allocator", "slow", "the C library's malloc is used", hint)


def gpu() -> Check:
    """NVIDIA GPUs, and whether the installed engine can use them."""
    tool = shutil.which("nvidia-smi")
    query = "--query-gpu=name,memory.total,driver_version"
    try:
        answer = subprocess.run(
            [tool or "nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return Check("gpu", "info", "no NVIDIA GPU", "one makes everything here much faster")
    cards = "; ".join(answer.stdout.strip().splitlines())
    if installed_version("vllm") is None:
        hint = f"{install('gpu')}: the engine installed here runs on the CPU"
        return Check("gpu", "slow", cards, hint)
    return Check("gpu", "ok", cards)


def open_files() -> Check:
    """The limit on open files, which bounds connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 8192:
        hint = f"`ulimit -n {min(hard, 65536) if hard > 0 else 65536}` before `adapters serve`"
        return Check("files", "slow", f"{soft} open files at most", hint)
    return Check("files", "ok", f"{soft} open files at most")


def disk(home: Path) -> Check:
    """Free space, and the time of an fsync, which every metered answer waits for."""
    folder = home
    try:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        milliseconds = _fsync_milliseconds(folder)
    except OSError as error:
        return Check("disk", "fail", f"{folder}: {error}", "set ADAPTERS_HOME to a writable folder")
    finding = f"{free / GIB:.0f} GiB free in {folder}, {milliseconds:.1f} ms an fsync"
    if free < 5 * GIB:
        return Check("disk", "fail", finding, "a base and a few adapters need 5 GiB")
    if milliseconds > 20:
        hint = "put ADAPTERS_HOME on a local SSD: every answer waits for one fsync of its usage"
        return Check("disk", "slow", finding, hint)
    return Check("disk", "ok", finding)


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def physical_cores() -> int:
    """Physical cores among the usable CPUs; hyper-threads of one core count once."""
    siblings = set()
    for number in usable_cpus():
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        siblings.add(path.read_text().strip() if path.exists() else str(number))
    return len(siblings)


def _container_limit() -> int | None:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _fsync_milliseconds(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(5):
            file.write(b"x" * 512)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[2] * 1000
