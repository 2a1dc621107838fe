"""One finished request, as it is metered: a line of the spool, a row of the index."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One finished request.

    Attributes:
        request_id: made by the gateway, never taken from a client (who could repeat it to be
            counted once).
        release: the digest that answered; the base's digest for a base model; empty when none did.
        ref: what was asked for, as resolved (`medical@7`, `base:NAME`).
        endpoint: the path, `/v1/chat/completions`.
        status: HTTP status sent; 499 when the client left first. ≥ 400 counts as a failure.
        cold_load: whether the request waited for its adapter to be loaded.
        started: seconds since the epoch; decides the day (UTC).
        seconds: from arrival to the last byte.
    """

    request_id: str
    tenant: str
    release: str
    ref: str
    prompt_tokens: int
    completion_tokens: int
    status: int
    started: float
    seconds: float = 0.0
    cold_load: bool = False
    endpoint: str = ""

    def values(self) -> dict[str, Any]:
        """By name; plain values, so nothing is copied as `dataclasses.asdict` would."""
        return {name: getattr(self, name) for name in self.__slots__}

    def to_line(self) -> bytes:
        """The event as one line of JSON, without the line's end."""
        return json.dumps(self.values(), separators=(",", ":")).encode()

    @classmethod
    def from_line(cls, line: bytes) -> UsageEvent:
        """The event of a line, also of one that a newer program wrote with further fields."""
        values = json.loads(line)
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})
