"""How long an engine that is starting is waited for: by what it does, not by the wall alone.

A wall clock cannot tell a machine that is slow from a process that hangs: with other work on two
cores the same start takes ten times as long. So past `limit` seconds it is only given up when it
has used that much processor time itself, or has used next to none for a tenth of the limit.
"""

from __future__ import annotations

# Of one core: below it, a process that waits for something looks about now and then.
_IDLE_SHARE = 0.005


class Patience:
    """The judgement over one start.

    Args:
        limit: `[supervisor] start_timeout`, seconds.
        now: on a monotonic clock, seconds.
    """

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit
        self._began = now
        self._used = 0.0
        self._looked = now

    def ended(self, now: float, used: float) -> bool:
        """Whether the engine has had its time, so that nobody waits for its start any longer.

        Args:
            now: on the same clock.
            used: processor time of the engine's processes so far, seconds.
        """
        window = now - self._looked
        idle = window >= self._limit / 10 and used - self._used < _IDLE_SHARE * window
        if window >= self._limit / 10:
            self._looked, self._used = now, used
        return now - self._began >= self._limit and (used >= self._limit or idle)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and all that it started and that still runs, seconds."""
    import psutil  # only where an engine runs: its import asks what system this is

    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    used = 0.0
    for process in family:
        try:
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        used += times.user + times.system + times.children_user + times.children_system
    return used
