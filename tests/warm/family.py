"""Who is behind the clients of the warm servers, for tests that look at processes."""

from __future__ import annotations

import psutil


def behind(process: psutil.Process) -> psutil.Process:
    """What the server forked for a client; the process itself, if it is none."""
    for handler in psutil.process_iter(["name"]):
        if handler.info["name"] == f"of {process.pid}":
            (forked,) = handler.children()
            return forked
    return process


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it started in its turn, seen behind their clients."""
    real = behind(process)
    return [real, *(member for child in real.children() for member in family(child))]
