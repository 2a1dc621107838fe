"""LoRA: the engine's own adapter support, under the digest as its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapterworks.gateway.engines.engine import Engine, Probe, Scores
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable


class LoraForm:
    """Loads through the engine's LoRA endpoint; a request names the digest as its model."""

    kind: str = LORA

    def engine_flags(self) -> dict[str, str | int | float | bool]:
        """None: LoRA is always on."""
        return {}

    async def load(self, engine: Engine, digest: str, folder: Path, servable: Servable) -> None:
        """Load the folder under the digest."""
        await engine.load(digest, folder)

    async def unload(self, engine: Engine, digest: str) -> None:
        """Forget the digest."""
        await engine.unload(digest)

    def address(
        self, engine: Engine, digest: str, servable: Servable, body: dict[str, Any], salt: str
    ) -> dict[str, Any]:
        """Name the digest; the engine keeps prefix caches apart by LoRA and by salt."""
        return {**body, "model": digest, "cache_salt": salt}

    async def score(
        self,
        engine: Engine,
        digest: str,
        servable: Servable,
        probes: Sequence[Probe],
        salt: str,
    ) -> tuple[list[Scores], int]:
        """Ask the engine under the digest."""
        return await engine.score({"model": digest, "cache_salt": salt}, probes)
