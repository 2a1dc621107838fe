"""`[[webhooks]]`: who is told what happened."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from adapterworks.gateway.config.table import Table, check_http_url
from adapterworks.manifests.hosts import is_loopback

# What can be told. The first six are OpenAI's own, and have its objects' shape.
EVENTS = (
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "batch.completed",
    "batch.failed",
    "batch.cancelled",
    "batch.expired",
    "release.published",
    "gates.failed",
    "alias.moved",
    "alias.requested",
    "alias.approved",
    "alias.denied",
    "alias.alarm",
)


class WebhookTable(Table):
    """`[[webhooks]]`: an address that is told what happens to jobs, gates and aliases.

    `name` is what it is called in logs and by `adapters webhook`. `secret_env` is the variable with
    its secret, `whsec_…`: each delivery is signed with it as https://www.standardwebhooks.com says.
    `events` are names of `EVENTS`, or their beginnings with `*` after: `alias.*`; without it all.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    url: str
    secret_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    events: tuple[str, ...] = ("*",)

    @field_validator("url")
    @classmethod
    def _is_private(cls, url: str) -> str:
        check_http_url(url)
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("has a password in it; the signature says who it is from")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("should begin with `https://` where it leaves this machine")
        return url

    @field_validator("events")
    @classmethod
    def _are_known(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        for event in events:
            if not _matching(event):
                raise ValueError(f"has `{event}`, which is none of {', '.join(EVENTS)}")
        return events

    def wants(self, event: str) -> bool:
        """Whether it is told of these."""
        return any(event in _matching(one) for one in self.events)


def _matching(event: str) -> tuple[str, ...]:
    if event.endswith("*"):
        return tuple(one for one in EVENTS if one.startswith(event[:-1]))
    return (event,) if event in EVENTS else ()
