"""Soft prompts and prefixes: virtual tokens that our engine plugin puts in front of the prompt.

The engine knows them by digest alone, found under the checkouts (see
`gateway/engine_plugin/servables.py`); there is nothing to load or unload ahead of a request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapterworks.gateway.engines.engine import Engine, Probe, Scores
from adapterworks.registry.releases.release import Servable

_CONNECTOR = {
    "kv_connector": "PrefixConnector",
    "kv_role": "kv_consumer",
    "kv_connector_module_path": "adapterworks.gateway.engine_plugin.prefix_connector",
}


class VirtualForm:
    """Names the digest in `kv_transfer_params`, which no client's value can reach.

    Args:
        kind: `prompt` or `prefix`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def engine_flags(self) -> dict[str, str | int | float | bool]:
        """The plugin's connector, which writes soft prompts as keys and values too."""
        return {"kv-transfer-config": json.dumps(_CONNECTOR)}

    async def load(self, engine: Engine, digest: str, folder: Path, servable: Servable) -> None:
        """Nothing: the checkout is where the engine looks."""

    async def unload(self, engine: Engine, digest: str) -> None:
        """Nothing is held under a name."""

    def address(
        self, engine: Engine, digest: str, servable: Servable, body: dict[str, Any], salt: str
    ) -> dict[str, Any]:
        """Ask the base, and say whose virtual tokens come first."""
        return {**body, **self._fields(engine, digest, salt)}

    async def score(
        self,
        engine: Engine,
        digest: str,
        servable: Servable,
        probes: Sequence[Probe],
        salt: str,
    ) -> tuple[list[Scores], int]:
        """Ask the engine with the virtual tokens in front."""
        return await engine.score(self._fields(engine, digest, salt), probes)

    def _fields(self, engine: Engine, digest: str, salt: str) -> dict[str, Any]:
        return {
            "model": engine.base.model,
            "cache_salt": salt,
            "kv_transfer_params": {"adapter_digest": digest},
        }
