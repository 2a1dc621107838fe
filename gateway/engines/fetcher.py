"""An engine whose host fetches releases itself: it is told a digest, never a path.

The other side is our plugin in the engine (`gateway/engine_plugin/releases.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from adapterworks.gateway.engines.messages import message
from adapterworks.manifests.errors import Refused, Unavailable

LOAD, UNLOAD = "/adapterworks/load", "/adapterworks/unload"  # of the plugin
FETCH_SECONDS = 900.0
"""Within which a release is fetched and loaded; the host goes on with it after that."""
_REFUSED = (400, 422)
# What clients are told, who are not to learn of the host's disk and registry.
_WHY = {
    401: "does not accept the gateway's key",
    404: "does not have the release, or fetches none",
    409: "did not get the release whole",
    507: "has no room for the release",
}
Ask = Callable[[str, dict[str, Any], float], Awaitable[tuple[int, str]]]
"""(path, body, seconds) → status and text of what the engine answers."""
_log = logging.getLogger(__name__)


class Fetcher:
    """The host of one engine.

    Args:
        engine: its name, for logs; `base`: that of what it serves.
        of_adapter: whether a failure's text is a judgement on the adapter.
    """

    def __init__(self, engine: str, base: str, ask: Ask, of_adapter: Callable[[str], bool]) -> None:
        self._engine, self._base, self._ask = engine, base, ask
        self._of_adapter = of_adapter

    async def load(self, digest: str) -> None:
        """Have a release fetched and loaded; loading it twice is not an error.

        Raises:
            Refused: the engine cannot load it.
            Unavailable: the host does not answer, or cannot get it.
        """
        status, text = await self._ask(LOAD, {"digest": digest}, FETCH_SECONDS)
        if status == 200 or (status == 400 and "already been loaded" in text):
            return
        if status in _REFUSED or (status == 500 and self._of_adapter(text)):
            raise Refused(
                f"the engine cannot load `{digest[:19]}…`: {message(text)}",
                hint="`adapters show` prints its rank and modules; the engine's own limits are in "
                "`adapters ps`",
            )
        raise self._unavailable(status, text, f"to load `{digest[:19]}…`")

    async def unload(self, digest: str) -> None:
        """Have it forgotten; forgetting an unknown one is not an error.

        Raises:
            Unavailable: the host does not answer.
        """
        status, text = await self._ask(UNLOAD, {"digest": digest}, FETCH_SECONDS)
        if status != 200:
            raise self._unavailable(status, text, f"to unload `{digest[:19]}…`")

    def _unavailable(self, status: int, text: str, what: str) -> Unavailable:
        _log.error(
            "the host of engine %s answered %d when asked %s: %s",
            self._engine, status, what, text[:1000],
        )  # fmt: skip
        return Unavailable(
            f"the engine of base `{self._base}` is not ready: its host "
            f"{_WHY.get(status, 'failed')} when asked {what}",
            hint="try again shortly",
            retry_after=10.0,
        )
