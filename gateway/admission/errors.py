"""Who must wait: a limit of the tenant is reached."""

from __future__ import annotations

from collections.abc import Mapping

from adapterworks.manifests.errors import AdapterworksError


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
