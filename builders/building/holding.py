"""What a process and those it started hold of a machine's memory and of its GPUs'."""

from __future__ import annotations

from contextlib import suppress

from adapterworks.builders.plan.cards import held_on_cards


def held_of_cards(process: int) -> dict[str, int]:
    """Bytes that a process and those it started hold of each GPU."""
    import psutil

    processes = [process]
    with suppress(psutil.Error):
        processes += [one.pid for one in psutil.Process(process).children(recursive=True)]
    return held_on_cards(processes)


def held_by(process: int) -> int:
    """Bytes that a process and those it started have taken of free memory.

    What they map of files is not among them: it is the disk's copy, which free memory counts.
    """
    import psutil

    held = 0
    with suppress(psutil.Error):
        parent = psutil.Process(process)
        for one in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                memory = one.memory_info()
                held += memory.rss - getattr(memory, "shared", 0)  # Linux alone tells them apart
    return held
