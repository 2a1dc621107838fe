"""What the engine is sent, and what it calls what is to answer."""

from __future__ import annotations

from typing import Any

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.request.endpoints import Call


def sent(engine: Engine, target: Target, call: Call, salt: str) -> dict[str, Any]:
    """The request as the engine gets it.

    Args:
        salt: the tenant's, so that no other finds its prompts in the engine's cache.
    """
    body = call.payload
    if call.endpoint.of_base:
        return {**body, "model": engine.base.model}
    if call.asked.stream and call.endpoint.usage_in_stream:
        # Counted with every event: known to the token whenever the client or the engine goes.
        counts = {"include_usage": True, "continuous_usage_stats": True}
        body = {**body, "stream_options": counts}
    if target.release is None or target.digest is None:
        return {**body, "model": engine.base.model, "cache_salt": salt}
    servable = target.release.servable
    assert servable is not None
    return FORMS[servable.form].address(engine, target.digest, servable, body, salt)


def name_at(engine: Engine, target: Target) -> str:
    """What the engine calls what is to answer, in its answers."""
    servable = target.release.servable if target.release is not None else None
    if servable is None or target.digest is None or servable.form not in FORMS:
        return engine.base.model
    return str(FORMS[servable.form].address(engine, target.digest, servable, {}, "")["model"])
