"""The entry point that vLLM calls in each of its processes.

Invariant: never raises. On an unknown version, or with `ADAPTERS_ENGINE_PLUGIN=0`, vLLM stays as
it is, and the log says so once.
"""

from __future__ import annotations

import logging
import os

TESTED = (0, 32)
"""Major and minor version of vLLM whose internals the plugin was written and tested against."""

SWITCH = "ADAPTERS_ENGINE_PLUGIN"
"""Environment variable; `0` leaves the stock engine."""

logger = logging.getLogger("vllm.adapterworks")


def register() -> None:
    """Install the hooks that the running vLLM supports; safe to call more than once."""
    if os.environ.get(SWITCH, "1") == "0":
        logger.info("adapterworks engine plugin is off (%s=0)", SWITCH)
        return
    from vllm.version import __version__, __version_tuple__

    if tuple(__version_tuple__[:2]) != TESTED:
        logger.warning(
            "adapterworks engine plugin was tested with vLLM %d.%d, this is %s: "
            "the stock engine is used",
            *TESTED,
            __version__,
        )
        return
    from adapterworks.gateway.engine_plugin import front, lora_hooks

    lora_hooks.install()
    front.install()
