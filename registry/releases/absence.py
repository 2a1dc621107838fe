"""Bytes that are not here, and whether that is as it should be.

A record names files by digest; it does not say where bytes are. What happened to them is told by
the registry that misses them, per blob: `withheld` (this release came here without them) or
`erased` (somebody removed them here for good, with a reason). What neither explains is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adapterworks.manifests.errors import NotFound
from adapterworks.registry.releases.roles import may_be_erased, may_be_withheld

Presence = Literal["right", "wrong", "absent"]
State = Literal["here", "withheld", "erased", "missing", "corrupt", "unerased"]

WITHHELD: Literal["withheld"] = "withheld"
ERASED: Literal["erased"] = "erased"


@dataclass(frozen=True, slots=True)
class Absence:
    """Why bytes are not here.

    Attributes:
        state: what happened.
        at: when it was noted here, RFC 3339.
        who: who erased or pulled.
        why: the reason that was given; for withheld bytes where the release came from.
    """

    state: Literal["withheld", "erased"]
    at: str
    who: str
    why: str

    def __str__(self) -> str:
        because = f": {self.why}" if self.why else ""
        if self.state == WITHHELD:
            return f"withheld{because}"
        return f"erased on {self.at[:10]} by {self.who}{because}"


class AbsentFile(NotFound):
    """A file of a release whose bytes are not here, and rightly so."""

    def __init__(self, ref: str, path: str, absence: Absence) -> None:
        said = "was" if absence.state == ERASED else "is"
        hint = (
            "erased bytes do not come back; the record keeps their digest"
            if absence.state == ERASED
            else "ask for it where the release was made"
        )
        super().__init__(f"`{path}` of `{ref}` {said} {absence}", hint=hint)
        self.absence = absence


def judge(path: str, presence: Presence, absence: Absence | None) -> State:
    """What a file's bytes and the facts about them come to."""
    erased = absence is not None and absence.state == ERASED
    withheld = absence is not None and absence.state == WITHHELD
    if erased and presence != "absent":
        return "unerased"
    if presence == "right":
        return "here"
    if presence == "wrong":
        return "corrupt"
    if erased and may_be_erased(path):
        return "erased"
    if withheld and may_be_withheld(path):
        return "withheld"
    return "missing"
