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


def switched_off() -> bool:
    """Whether the environment asks for the stock engine."""
    return os.environ.get(SWITCH, "1") == "0"


def tested(version: str) -> bool:
    """Whether the plugin does anything on this version of vLLM, such as `0.32.0`."""
    return tuple(version.split(".")[:2]) == tuple(map(str, TESTED))


def require() -> None:
    """Refuse to go on without the hooks, for what works only beside them.

    Raises:
        ValueError: `register` leaves this process's engine as it is.
    """
    from vllm.version import __version__

    if switched_off() or not tested(__version__):
        raise ValueError(
            f"virtual tokens need the adapterworks engine plugin, which is off: `{SWITCH}` is 0, "
            f"or vLLM {__version__} is not {TESTED[0]}.{TESTED[1]}"
        )


def register() -> None:
    """Install the hooks that the running vLLM supports; safe to call more than once."""
    if switched_off():
        logger.info("adapterworks engine plugin is off (%s=0)", SWITCH)
        return
    from vllm.version import __version__

    if not tested(__version__):
        logger.warning(
            "adapterworks engine plugin was tested with vLLM %d.%d, this is %s: "
            "the stock engine is used",
            *TESTED,
            __version__,
        )
        return
    from adapterworks.gateway.engine_plugin import front, lora_hooks, seeds

    lora_hooks.install()
    front.install()
    seeds.install()
