"""Who may not come in, and who must wait: the two errors of the gateway's policy.

Invariant: `Unauthorized` says the same for every key that does not work (unknown, malformed,
expired, revoked, of a removed tenant), so that nothing can be learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from manifests.errors import AdapterworksError


class Unauthorized(AdapterworksError):
    """No key, or one that does not work (HTTP 401)."""


class RateLimited(AdapterworksError):
    """A limit of the tenant is reached (HTTP 429).

    Attributes:
        headers: `x-ratelimit-*` and `retry-after`, ready to send.
        retry_after: seconds after which a retry is sensible.
        code: `rate_limit_exceeded`, or `insufficient_quota` for the monthly budget, as OpenAI's
            clients know them.
    """

    def __init__(
        self,
        message: str,
        *,
        headers: Mapping[str, str],
        retry_after: float,
        code: str = "rate_limit_exceeded",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.headers = dict(headers)
        self.retry_after = retry_after
        self.code = code


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
