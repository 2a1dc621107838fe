"""The project's error classes: a handful, each with a message that says what, where and what to do.

Messages have no trailing period and quote names in backticks; `hint` says what to do next.
Two maps read them, and no other: `adapterworks.errors` to exit codes, and
`adapterworks.gateway.request.errors` to HTTP statuses.
"""

from __future__ import annotations

from typing import Self


class AdapterworksError(Exception):
    """Base of every error that a user can cause or mend.

    Args:
        message: what went wrong and where, without a trailing period.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")  # a traceback, in a notebook for one, shows it

    def again(self) -> Self:
        """The same error as another object, to raise one that is kept.

        An object that is raised gathers the frames of whoever raises it, and says to all what one
        of them has written into it.
        """
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        other.__notes__ = [*getattr(self, "__notes__", ())]
        other.__cause__ = self.__cause__
        return other


class InvalidInput(AdapterworksError):
    """Something the caller wrote is malformed or impossible (manifest, ref, option, file)."""


class NotFound(AdapterworksError):
    """A name, version, alias, digest, base or file does not exist (or may not be seen)."""


class Conflict(AdapterworksError):
    """A compare-and-set lost, a version exists already, a branch moved."""


class IntegrityError(AdapterworksError):
    """Bytes are not what their digest says, or a record names what is not there."""


class Refused(AdapterworksError):
    """Well-formed, but policy, a gate or a proof says no."""


class Unavailable(AdapterworksError):
    """Cannot be done now (engine starting, no free slot, hub unreachable); may be tried again.

    Args:
        retry_after: seconds after which a retry is sensible, if known.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
