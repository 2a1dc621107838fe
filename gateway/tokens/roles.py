"""The roles of the registry over HTTP, lowest first: each may do all that those before it may.

reader      sees names, versions, aliases, records, logs, and fetches bytes
publisher   puts bytes, publishes, tags, deprecates, signs
promoter    moves aliases, rolls back, approves
admin       deletes, revokes, changes settings and tokens, reads the trail
"""

from __future__ import annotations

import enum

from adapterworks.manifests.errors import InvalidInput


class Role(enum.IntEnum):
    """What somebody may do; compared by `<=`."""

    READER = 1
    PUBLISHER = 2
    PROMOTER = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """As it is written."""
        return self.name.lower()


WORDS = tuple(role.word for role in Role)


def role_of(word: str) -> Role:
    """The role of a word.

    Raises:
        InvalidInput: it is none.
    """
    if word not in WORDS:
        raise InvalidInput(f"`{word}` is no role", hint=f"roles are {', '.join(WORDS)}")
    return Role[word.upper()]
