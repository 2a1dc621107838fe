"""Who is not let in, however it came: logged for whoever runs the gateway, by the key's id."""

from __future__ import annotations

import logging

from adapterworks.gateway.tenants.keys import REGISTRY, key_id_of

_log = logging.getLogger("adapterworks.gateway.access")


def turned_away(shown: str | None, *, request_id: str, client: str) -> str:
    """Somebody tries keys, or has one that was revoked: whoever runs the gateway sees it.

    Args:
        client: its address; empty where it is not known.

    Returns the kind of it: `none`, `unknown` or `refused`.
    """
    known = key_id_of(shown) or key_id_of(shown, REGISTRY) if shown else None
    fields = {"request_id": request_id, "status": 401, "client": client, "key_id": known or ""}
    _log.warning("not let in", extra={"fields": fields})
    return "none" if not shown else "unknown" if known is None else "refused"
