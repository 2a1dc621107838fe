"""An answered request on its way to be kept: what the relay held, in memory only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapterworks.gateway.tenants.consent import Consent


@dataclass(frozen=True, slots=True)
class Draft:
    """One answered chat request, as it was sent and answered.

    Attributes:
        tenant, tenant_name: id, and name at that time.
        consent: of the tenant, when it asked.
        adapter: name of the adapter, or `base:NAME`.
        ref: what the client named.
        request: the client's JSON as far as it was passed on.
        events: of a stream, in order; or the one whole answer.
        streamed: which of the two.
        tokens: of prompt and answer, as they were metered.
        size: bytes that this takes, about.
        created: seconds since the epoch.
        shadow: it is another release's answer to a request that is kept.
    """

    tenant: str
    tenant_name: str
    consent: Consent
    receipt: str
    adapter: str
    ref: str
    release: str
    base: str
    template: str
    stored: bool
    request: Mapping[str, Any]
    metadata: Mapping[str, str]
    events: tuple[dict[str, Any], ...]
    streamed: bool
    tokens: tuple[int, int]
    size: int
    created: float
    shadow: bool = False
