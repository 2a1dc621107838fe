"""Who may not come in.

Invariant: `Unauthorized` says the same for every key that does not work (unknown, malformed,
expired, revoked, of a removed tenant), so that nothing can be learnt from it.
"""

from __future__ import annotations

from adapterworks.manifests.errors import AdapterworksError


class Unauthorized(AdapterworksError):
    """No key, or one that does not work (HTTP 401)."""


def no_key() -> Unauthorized:
    """The error of a request without a key."""
    return Unauthorized(
        "no API key was given",
        hint="send it as `Authorization: Bearer aw-…`; `adapters tenant key add NAME` makes one",
    )


def bad_key() -> Unauthorized:
    """The error of a key that does not work, whatever the reason."""
    return Unauthorized(
        "the API key is not valid", hint="ask whoever runs this gateway for a new key"
    )
