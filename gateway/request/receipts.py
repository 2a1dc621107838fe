"""The receipt of an answer: which release gave it, on which base, under which request id.

Invariant: the receipt is built from the `Target` that was used, never from a second look at the
alias; the request id is ours, because metering is idempotent by it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from adapterworks.gateway.engines.target import Target


@dataclass(slots=True)
class Receipt:
    """Filled in as the request is understood; `headers` gives what is known so far.

    Attributes:
        limits: the tenant's `x-ratelimit-*` headers.
        ignored: names of request fields that were left out.
        of_base: the base answers, whatever adapter was named: its tokenizer is theirs.
        key_id: of the key that the caller showed; empty in an open gateway.
    """

    request_id: str = field(default_factory=lambda: f"req-{secrets.token_hex(12)}")
    target: Target | None = None
    limits: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    of_base: bool = False
    key_id: str = ""

    @property
    def adapter_digest(self) -> str | None:
        """The release that answers; None if the base does, or nobody yet."""
        if self.target is None:
            return None
        if self.target.digest is None or self.of_base:
            return None
        return self.target.digest

    @property
    def answers(self) -> str:
        """The digest of what answers, a base's too; empty if that is not known yet."""
        return self.adapter_digest or (self.target.base_digest if self.target is not None else "")

    def headers(self) -> dict[str, str]:
        """The headers to send, on errors too."""
        headers = {"x-request-id": self.request_id, **self.limits}
        if self.target is not None:
            headers["x-adapter-ref"] = self.target.ref
            headers["x-base-digest"] = self.target.base_digest
            if (digest := self.adapter_digest) is not None:
                headers["x-adapter-digest"] = digest
        if self.ignored:
            headers["x-adapter-ignored"] = ",".join(
                name[:100] for name in self.ignored[:20] if name.isascii() and name.isidentifier()
            )
        return headers
