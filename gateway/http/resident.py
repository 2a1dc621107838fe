"""A release loaded and proved now, on every engine of its base, as `adapters apply` asks."""

from __future__ import annotations

import asyncio
import contextlib

from adapterworks.gateway.gateway import Gateway
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.manifests.refs import parse_ref


async def have_resident(gateway: Gateway, digest: str, *, pin: bool) -> list[str]:
    """Load and prove a release; returns the ids of the engines that hold it.

    Args:
        digest: of the release.
        pin: keep it loaded from now on; versions of the same name that were pinned and that no
            alias holds any more may be unloaded.

    Raises:
        NotFound: no such release.
        Refused, IntegrityError: it may not be served, or no engine serves its base.
        Unavailable: not within the cold wait, or an engine does not answer.
    """
    release = await gateway.resolver.release(digest)
    engines = [e for e in gateway.pool.engines if e.base.digest == release.base.digest]
    if not engines:
        raise Refused(
            f"no engine of this gateway serves the base of `{release.name}` "
            f"({release.base.model}, {release.base.quantization})",
            hint="restart `adapters serve`: it starts an engine for every base that is needed",
        )
    held = await asyncio.to_thread(_held, gateway, release.name) if pin else set()
    for engine in engines:
        residency = gateway.residency(engine)
        if pin:
            residency.pin(release)
            residency.unpin(release.name, keep=held | {digest})
        await residency.warm(release)
    return [engine.id for engine in engines]


def _held(gateway: Gateway, name: str) -> set[str]:
    """The digests that a name's aliases hold, canaries too, and those that are configured."""
    registry, held = gateway.registry, set[str]()
    for alias in {move.alias for move in registry.history(name)}:
        with contextlib.suppress(NotFound):
            held.update(weight.digest for weight in registry.weights(name, alias))
    for ref in map(parse_ref, gateway.config.residency.pins):
        with contextlib.suppress(NotFound):
            held.add(registry.resolve(ref).digest)
    return held
