"""Holds what one request was answered, for a tenant that lets it be kept, and hands it over.

Invariant: it is handed over after the answer's last byte, and only if the answer is whole; what the
client said must not be kept (`store: false`) is never held.
"""

from __future__ import annotations

import time
from typing import Any

from adapterworks.gateway.capture.draft import Draft
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.request.endpoints import CHAT, Call
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.typed.chat import Chat
from adapterworks.gateway.request.usage import Usage
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.tenant import Tenant

_EVENT_BYTES = 300  # of one event in memory, about


class Recorder:
    """One request that may be kept."""

    def __init__(
        self,
        gateway: Gateway,
        tenant: Tenant,
        consent: Consent,
        call: Call,
        receipt: Receipt,
        target: Target,
        engine: Engine,
    ) -> None:
        self._gateway, self._tenant, self._consent = gateway, tenant, consent
        self._call, self._receipt, self._target, self._engine = call, receipt, target, engine
        self._created = time.time()
        self._events: list[dict[str, Any]] = []
        self._streamed = False

    def event(self, value: dict[str, Any]) -> None:
        """An event of the stream, as the client gets it."""
        self._streamed = True
        self._events.append(value)

    def whole(self, answer: dict[str, Any]) -> None:
        """The answer in one piece."""
        self._events = [answer]

    def done(self, usage: Usage, size: int) -> None:
        """The client has all of it.

        Args:
            size: bytes of a whole answer.
        """
        self._offer(usage, size, shadow=False)

    def shadowed(self, answer: dict[str, Any], size: int) -> None:
        """Another release has answered the same request.

        Args:
            size: bytes of the answer.
        """
        self._events = [answer]
        self._offer(Usage(), size, shadow=True)

    def _offer(self, usage: Usage, size: int, *, shadow: bool) -> None:
        asked = self._call.asked
        if not self._events or not isinstance(asked, Chat):
            return
        target = self._target
        self._gateway.capture.offer(
            Draft(
                tenant=self._tenant.id,
                tenant_name=self._tenant.name,
                consent=self._consent,
                receipt=self._receipt.request_id,
                adapter=target.access,
                ref=target.ref,
                release=target.digest or "",
                base=target.base_digest,
                template=self._engine.base.template_digest or "",
                stored=bool(asked.store),
                request=self._call.payload,
                metadata={k: v for k, v in (asked.metadata or {}).items() if isinstance(v, str)},
                events=tuple(self._events),
                streamed=self._streamed,
                tokens=(usage.prompt, usage.completion),
                size=self._call.size + size + _EVENT_BYTES * len(self._events),
                created=self._created,
                shadow=shadow,
            )
        )


def recorder_of(
    gateway: Gateway, tenant: Tenant, call: Call, receipt: Receipt, target: Target, engine: Engine
) -> Recorder | None:
    """A recorder, where the tenant lets this answer be kept; None where it does not."""
    consent = consent_to_keep(tenant, call, receipt, target)
    if consent is None:
        return None
    return Recorder(gateway, tenant, consent, call, receipt, target, engine)


def consent_to_keep(tenant: Tenant, call: Call, receipt: Receipt, target: Target) -> Consent | None:
    """The tenant's consent, where it lets an answer to this request be kept."""
    consent, asked = tenant.consent, call.asked
    if consent is None or call.endpoint is not CHAT or not isinstance(asked, Chat):
        return None
    if asked.store is False or not consent.covers(target.access):
        return None
    if not asked.store and not consent.takes(receipt.request_id):
        return None
    return consent
