"""One finished request, as it is metered: a line of the spool, a row of the index."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_MOST = 2**53
_YEAR_10000 = 253_402_300_800.0  # the first second that has no day for us
_COUNTS = {
    "prompt_tokens": _MOST,
    "completion_tokens": _MOST,
    "cached_tokens": _MOST,
    "reasoning_tokens": _MOST,
    "sequences": _MOST,
    "status": 999,
}
_FLAGS = ("cold_load", "estimated")
_TEXTS = ("request_id", "tenant", "release", "ref", "endpoint", "key_id", "user")


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
        cached_tokens: those of the prompt that came from the engine's cache.
        reasoning_tokens: those of the completion that are reasoning.
        sequences: answers that the engine worked on.
        key_id: of the key that was shown; empty in an open gateway.
        user: what stands for whom the client said it asked for (`Tenant.pseudonym`).
        estimated: the engine gave no usable count, and the most it can be is charged.

    Raises:
        ValueError: a value is none that the index can take.
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
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    sequences: int = 1
    key_id: str = ""
    user: str = ""
    estimated: bool = False

    def __post_init__(self) -> None:
        for name, most in _COUNTS.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"`{name}` is no count: {value!r}"[:200])
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or "\0" in value:  # which PostgreSQL does not take
                raise ValueError(f"`{name}` is no text")
            if not value.isascii():
                _check_encodes(name, value)
        for name in ("started", "seconds"):
            value = getattr(self, name)
            # What is no number is not in any range.
            if type(value) not in (int, float) or not 0 <= value < _YEAR_10000:
                raise ValueError(f"`{name}` is no time")
        for name in _FLAGS:
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"`{name}` is no yes or no")

    def values(self) -> dict[str, Any]:
        """By name; plain values, so nothing is copied as `dataclasses.asdict` would."""
        return {name: getattr(self, name) for name in self.__slots__}

    def to_line(self) -> bytes:
        """The event as one line of JSON, without the line's end."""
        return json.dumps(self.values(), separators=(",", ":")).encode()

    @classmethod
    def from_line(cls, line: bytes) -> UsageEvent:
        """The event of a line, also of one that a newer program wrote with further fields.

        Raises:
            ValueError: it is none.
        """
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("not an event: it is no object")
        try:
            return cls(**{name: values[name] for name in cls.__slots__ if name in values})
        except TypeError as error:
            raise ValueError(f"not an event: {error}") from error


def _check_encodes(name: str, value: str) -> None:
    """Refuse a half of a character, which no database takes."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"`{name}` is no text: {error.reason}") from error
