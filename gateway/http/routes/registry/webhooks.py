"""What addresses of `[[webhooks]]` were told, for administrators, as `adapters webhook`."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.webhooks.outbox import STATES, Outbox


def listed(asked: Asked) -> dict[str, Any]:
    """Deliveries, the newest first, as many as `limit` says."""
    state = asked.query("state")
    if state is not None and state not in STATES:
        raise InvalidField(f"`state` is none of {', '.join(STATES)}", param="state")
    limit = number(asked.request, "limit", USUAL, most=MOST)
    found = _outbox(asked).list(state=state, limit=limit)
    return {
        "object": "list",
        "data": [dataclasses.asdict(delivery) for delivery in found],
        "has_more": False,
    }


def resend(asked: Asked, body: bodies.Resending) -> dict[str, Any]:
    """An event is sent again, with the same id."""
    count = _outbox(asked).resend(asked.path("event"), body.to)
    return {"object": "registry.resending", "event": asked.path("event"), "addresses": count}


def _outbox(asked: Asked) -> Outbox:
    migrate(asked.registry.database)
    return Outbox(asked.registry.database, lambda name, version: {}, time.time)
