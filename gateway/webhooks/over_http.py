"""`Outbox` on a registry's server: what `adapters webhook` reads and asks of it."""

from __future__ import annotations

import builtins
from typing import Any

from adapterworks.gateway.webhooks.outbox import Delivery
from adapterworks.registry.remotes.http.link import Link, part


class OutboxOverHttp:
    """Deliveries of a server, with an administrator's token."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def list(self, *, state: str | None = None, limit: int = 50) -> builtins.list[Delivery]:
        """As `Outbox.list`."""
        return self._link.page("/webhooks", Delivery, limit=limit, state=state)

    def resend(self, event: str, address: str | None = None) -> int:
        """As `Outbox.resend`."""
        path = f"/webhooks/{part(event)}/resending"
        return int(self._link.post(path, dict[str, Any], to=address)["addresses"])
