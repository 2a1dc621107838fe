"""What vLLM is given to offer over HTTP on an engine's host: which base it serves, and releases.

vLLM finds it as the entry point `adapterworks` of `vllm.endpoint_plugins`, and takes it where it is
asked to: `VLLM_PLUGINS=adapterworks`. The registry is that of this host's settings: a server's
(`ADAPTERS_REGISTRY`), or index and store themselves (`ADAPTERS_DATABASE`, `ADAPTERS_BLOBS`).
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.gateway.engine_plugin.identity import Identity
from adapterworks.gateway.engine_plugin.release_cache import ReleaseCache
from adapterworks.gateway.engine_plugin.releases import Releases, attach
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from adapterworks.registry.registry import Registry

_log = logging.getLogger("vllm.adapterworks")


class EngineHost(Identity):
    """vLLM's `EndpointPlugin`."""

    def attach_router(self, app: FastAPI) -> None:
        """Add the paths."""
        super().attach_router(app)
        attach(app)

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Know the base, and the registry that releases are fetched from."""
        await super().init_state(engine_client, state, args)
        models = getattr(state, "openai_serving_models", None)
        if models is None:
            return
        try:
            settings = Settings.from_environment()
        except AdapterworksError as error:
            _log.error("no releases are fetched here: %s", error)
            return
        keys = args.api_key or [os.environ.get("VLLM_API_KEY", "")]
        cache = ReleaseCache(lambda: open_registry(settings), settings.checkouts)
        state.adapterworks_releases = Releases(cache, OfVllm(models), keys)


class OfVllm:
    """The LoRAs of the vLLM in this process, as its own endpoints have them.

    Args:
        models: vLLM's `OpenAIServingModels`.
    """

    def __init__(self, models: Any) -> None:
        self._models = models

    async def load(self, name: str, path: str) -> tuple[int, str]:
        """Load a folder under a name."""
        from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest

        asked = LoadLoRAAdapterRequest(lora_name=name, lora_path=path)
        said = await self._models.load_lora_adapter(asked)
        return (200, said) if isinstance(said, str) else (said.error.code, said.error.message)

    async def unload(self, name: str) -> None:
        """Forget a name."""
        from vllm.entrypoints.serve.lora.protocol import UnloadLoRAAdapterRequest

        if name in self._models.lora_requests:
            await self._models.unload_lora_adapter(UnloadLoRAAdapterRequest(lora_name=name))


def open_registry(settings: Settings) -> Registry:
    """The registry that an engine's host fetches from; what makes room in it is the cache's matter.

    Raises:
        Unavailable: no registry is named, and this host has none of its own.
    """
    from adapterworks.app import App

    index = settings.database.removeprefix("sqlite:///")
    here = index == settings.database or Path(index).exists()
    if settings.registry is None and not here:
        raise Unavailable(
            "this host knows no registry",
            hint="set `ADAPTERS_REGISTRY` and `ADAPTERS_REGISTRY_TOKEN` where the engine is "
            "started, or `ADAPTERS_DATABASE` and `ADAPTERS_BLOBS`",
        )
    return App(replace(settings, checkouts=None)).registry
