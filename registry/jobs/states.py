"""A job's states, and which follows which.

    queued → running → succeeded | failed | cancelled
      ↑ ↓       ↓  ↑
      paused ←──┘  └─ queued again: given back, lost by its worker, or handed to another lane

Invariant: what is not in the table does not happen; a state without a successor is final, which
the database holds too.
"""

from __future__ import annotations

from typing import Literal

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Wanted = Literal["", "pause", "cancel"]
"""What a running job's owner asks its worker for."""

FOLLOWS: dict[State, frozenset[State]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
ENDED = frozenset(state for state, following in FOLLOWS.items() if not following)
AT_WORK: tuple[State, ...] = ("queued", "running")
"""What a worker may have or be given now."""
