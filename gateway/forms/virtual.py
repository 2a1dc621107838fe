"""Prefix and prompt tuning: virtual tokens that the engine plugin puts in front of the prompt.

Invariant: the engine finds an adapter by its digest among the checkouts (`ADAPTERS_SERVABLES`);
nothing is loaded ahead, so nothing can be loaded wrongly, and nothing has to be unloaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gateway.engines.engine import Engine, Scores
from manifests.errors import IntegrityError
from registry.release import Servable

_CONNECTOR = {
    "kv_connector": "PrefixConnector",
    "kv_connector_module_path": "gateway.engine_plugin.prefix_connector",
    "kv_role": "kv_consumer",
}


class VirtualTokensForm:
    """A request names the base as its model, and the adapter's digest for the engine's connector.

    Args:
        kind: `prefix` (keys and values are given) or `prompt` (embeddings are given).
    """

    def __init__(self, kind: Literal["prefix", "prompt"]) -> None:
        self.kind: str = kind

    def engine_flags(self) -> dict[str, str | int | float | bool]:
        """The connector; soft prompts also need the engine's input embeddings."""
        flags: dict[str, str | int | float | bool] = {"kv-transfer-config": json.dumps(_CONNECTOR)}
        if self.kind == "prompt":
            flags["enable-prompt-embeds"] = True
        return flags

    async def load(self, engine: Engine, digest: str, folder: Path, servable: Servable) -> None:
        """Nothing to do: the folder is where the engine looks.

        Raises:
            IntegrityError: the folder does not hold what the form needs.
        """
        if not (folder / f"{self.kind}.safetensors").is_file():
            raise IntegrityError(f"release {digest} has no `servable/{self.kind}.safetensors`")

    async def unload(self, engine: Engine, digest: str) -> None:
        """Nothing to do: the engine keeps a bounded number of adapters in memory by itself."""

    def address(
        self, engine: Engine, digest: str, servable: Servable, body: dict[str, Any], salt: str
    ) -> dict[str, Any]:
        """Name the base and the adapter; the engine keeps prefix caches apart by both."""
        return {**body, **self._fields(engine, digest, salt)}

    async def score(
        self,
        engine: Engine,
        digest: str,
        servable: Servable,
        prompts: Sequence[Sequence[int]],
        salt: str,
    ) -> tuple[list[Scores], int]:
        """Ask the base with the adapter in front."""
        return await engine.score(self._fields(engine, digest, salt), prompts)

    @staticmethod
    def _fields(engine: Engine, digest: str, salt: str) -> dict[str, Any]:
        return {
            "model": engine.base.model,
            "cache_salt": salt,
            "kv_transfer_params": {"adapter_digest": digest},
        }
