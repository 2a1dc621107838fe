"""The event log of a build: append-only JSON lines, one event a line, written before it is shown.

Invariant: a line is written in one `write` of a file opened for appending, so a reader never sees
half an event except as the last line of a build that was killed, which `read_events` leaves out.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapterworks.manifests.json_lines import ended_lines

Event = dict[str, Any]
Listener = Callable[[Event], None]


class EventLog:
    """Writes events to a file and passes each on to the listeners.

    Args:
        path: the log; created with its folder, appended to when it exists.
        listeners: called with every event after it is on disk.
    """

    def __init__(self, path: Path, *listeners: Listener) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._listeners = listeners

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event with the time in seconds since the epoch."""
        record = {"event": event, "time": round(time.time(), 3), **fields}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.pass_on(record)

    def pass_on(self, record: Event) -> None:
        """Tell the listeners of an event that is in the log already (another process wrote it)."""
        for listener in self._listeners:
            listener(record)


def parse_lines(data: bytes) -> Iterator[Event]:
    """The complete events of a log's bytes, in order."""
    for line in ended_lines(data):
        # A writer that was killed leaves a torn line, which the next append completes.
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def read_events(path: Path) -> list[Event]:
    """All complete events of a log; empty when the file does not exist."""
    if not path.exists():
        return []
    return list(parse_lines(path.read_bytes()))
