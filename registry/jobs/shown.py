"""What a job's owner may read of how its run went: everything, or what a tenant may.

Invariant: of hosts, drivers and folders nothing is in a tenant's job or its events; the original is
in the worker's log, and in `adapters jobs show`, under `result`. The command line's own jobs are
told everything.
"""

from __future__ import annotations

import re
from typing import Any

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.jobs.job import OPERATOR, Again, Outcome, Stop

WHY = "why"
"""Where the original is in a job's result."""
_SAID: dict[type[AdapterworksError], str] = {
    Conflict: "the same is being made by another job",
    Unavailable: "what it needs cannot be reached now",
    IntegrityError: "stored bytes are not those that were published",
    AdapterworksError: "something went wrong in the gateway or its workers",
}
# What these say is of what the tenant asked for; only where it lies is not its own to know.
_OF_THE_ASKED = (InvalidInput, NotFound, Refused)
_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s`'\"<>()]+")
_NAME = r"[^\s/`'\"<>():,;]"
_PATH = re.compile(rf"(?<![\w./~-])(?:~|/{_NAME}+)(?:/{_NAME}+)*/({_NAME}*)")


def told(error: AdapterworksError, owner: str) -> str:
    """What an owner reads of an error.

    Args:
        owner: the job's tenant.
    """
    message = f"{error.message}\n\nhint: {error.hint}" if error.hint else error.message
    if owner == OPERATOR:
        return message
    if isinstance(error, _OF_THE_ASKED):
        return without_places(message)
    return next(_SAID[cls] for cls in type(error).__mro__ if cls in _SAID)


def again(error: AdapterworksError, owner: str, *, after: float, counts: bool = True) -> Again:
    """To be tried again, for an error's reason."""
    return Again(after, told(error, owner), counts=counts, detail=_detail(owner, error.message))


def stop(code: str, error: AdapterworksError, owner: str) -> Stop:
    """Not to be tried again, for an error's reason."""
    return Stop(code, told(error, owner), result=_detail(owner, error.message))


def shown(outcome: Outcome, owner: str) -> Outcome:
    """An outcome as its owner may read it."""
    if not isinstance(outcome, Stop) or owner == OPERATOR:
        return outcome
    said = without_places(outcome.message)
    if said == outcome.message:
        return outcome
    result = {**_detail(owner, outcome.message), **outcome.result}
    return Stop(outcome.code, said, outcome.param, result)


def without_places(text: str) -> str:
    """A text without addresses, and of absolute paths the last name."""
    return _PATH.sub(r"…/\1", _ADDRESS.sub("‹address›", text))


def _detail(owner: str, message: str) -> dict[str, Any]:
    return {} if owner == OPERATOR else {WHY: message}
