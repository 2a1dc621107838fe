"""Names on the Hub, parsed once.

source = ["hub:"] org "/" name ["@" revision]        revision: commit, tag or branch; default main
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapterworks.manifests.errors import InvalidInput

DEFAULT_REVISION = "main"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_SOURCE = re.compile(rf"(?:hub:)?(?P<repo>{_PART}/{_PART})(?:@(?P<rev>[A-Za-z0-9._/-]{{1,200}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository at a revision that may still be a branch."""

    repository: str
    revision: str = DEFAULT_REVISION

    @property
    def is_commit(self) -> bool:
        """Whether the revision cannot move."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hub:{self.repository}@{self.revision}"


def parse_source(text: str) -> HubSource:
    """Parse `hub:org/name@revision`.

    Raises:
        InvalidInput: the text does not follow the grammar above.
    """
    match = _SOURCE.fullmatch(text)
    if match is None or ".." in text or "--" in match["repo"]:
        raise InvalidInput(
            f"`{text}` is not a Hub repository", hint="write `org/name` or `org/name@revision`"
        )
    return HubSource(match["repo"], match["rev"] or DEFAULT_REVISION)
