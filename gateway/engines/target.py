"""The values a request is made of on its way through the gateway.

Invariant: a `Target` is read once per request; everything after it (access, residency, routing,
receipt, metering) uses the digests in it and never the alias again.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.registry.bases.rendering import Rendering
from adapterworks.registry.releases.release import Release


@dataclass(frozen=True, slots=True)
class ServedBase:
    """A base as an engine serves it.

    Attributes:
        name: what clients call it.
        model: what the engine calls it.
        template_digest: digest of the chat template that the engine has; None if unknown.
        exact: whether the engine computes in float32, as the fingerprint was taken.
        renderings: what the base's own template makes of some conversations.
        kind: digest of all that the engine's numbers depend on, by its own word: engine, plugin,
            device, type, base. None: it does not say.
    """

    name: str
    model: str
    digest: str
    quantization: str = "none"
    template_digest: str | None = None
    exact: bool = True
    renderings: tuple[Rendering, ...] = ()
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a model name in a request stands for: a release, or a base itself.

    Attributes:
        ref: the name as the client wrote it; answers carry it in `model`.
        access: the name that a tenant's patterns are matched against.
        release: None for a base.
        digest: of the release; None for a base.
    """

    ref: str
    access: str
    base_digest: str
    release: Release | None = None
    digest: str | None = None
    version: int | None = None

    @property
    def label(self) -> str:
        """`medical@7`, or the base's own name, whichever of its names the client wrote: for logs,
        metrics and metering."""
        if self.release is None:
            return self.access.partition(":")[2]
        return f"{self.release.name}@{self.version}" if self.version else self.release.name
