"""Shadow traffic: a share of an adapter's requests is asked of another one, unseen by the client.

The answer is dropped, but for a request that its tenant lets be kept: there it is kept beside the
first one, so that two releases can be compared on the same requests.

Invariant: a shadow costs the caller nothing: no wait, no tokens, no limit, no error. It stands in
the fair queue as a tenant of its own, and is left out when too many are under way, or where its own
engine could not be asked what the first one can.
"""

from __future__ import annotations

import logging
import random
from typing import Any

from pydantic_core import from_json, to_json

from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.request.cost import expected
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.recorder import consent_to_keep, recorder_of
from adapterworks.gateway.request.scorable import require_scorable
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError

MOST_UNDER_WAY = 8
_TENANT = "shadow"
_WEIGHT = 0.1
_log = logging.getLogger(__name__)


def consider(
    gateway: Gateway, call: Call, target: Target, tenant: Tenant, receipt: Receipt
) -> bool:
    """Start shadows of a request, where a `[[shadow]]` table says so and there is room.

    Returns whether there is one: then `Capture.over` is to be told when the request is over.
    """
    started = False
    if target.release is None:
        return started
    for table in gateway.config.shadow:
        chosen = table.adapter == target.release.name and random.random() < table.share  # noqa: S311
        if chosen and len(gateway.background) < MOST_UNDER_WAY:
            asking = _ask(gateway, call, table.to, target, tenant, receipt)
            task = gateway.supervisor.once("shadow", asking)
            gateway.background.add(task)
            task.add_done_callback(gateway.background.discard)
            started = True
    return started


async def _ask(
    gateway: Gateway, call: Call, ref: str, first: Target, tenant: Tenant, receipt: Receipt
) -> None:
    streaming = ("stream", "stream_options")
    body: dict[str, Any] = {k: v for k, v in call.payload.items() if k not in streaming}
    sequences = call.asked.sequences
    try:
        target = await gateway.resolver.target(ref, _TENANT)
        release = target.release
        if release is None or release.servable is None:
            return
        with gateway.fleet.using(target) as engine:
            await require_scorable(engine, call)
            residency = gateway.residency(engine)
            await residency.warm(release, _TENANT)
            gate = residency.gate(release, _TENANT)
            payload = FORMS[release.servable.form].address(
                engine, release.digest, release.servable, body, _TENANT
            )
            turn = gateway.queue(engine).turn(
                _TENANT,
                expected_tokens=expected(call, engine.context).total,
                weight=_WEIGHT,
                sequences=sequences,
                gate=gate,
            )
            async with turn:
                with gate.use():
                    path = call.endpoint.engine_path
                    async with engine.post(path, to_json(payload), {}) as answer:
                        said = await answer.read()
            keeps = all(consent_to_keep(tenant, call, receipt, one) for one in (first, target))
            if answer.status == 200 and keeps and release.digest != first.digest:
                recorder = recorder_of(gateway, tenant, call, receipt, target, engine)
                if recorder is not None:
                    recorder.shadowed(from_json(said), len(said))
        outcome = str(answer.status)
    except (AdapterworksError, OSError, TimeoutError, ValueError) as error:
        outcome = type(error).__name__
    _log.info("shadow", extra={"fields": {"adapter_ref": ref, "outcome": outcome}})
