"""The names of the registry, read once for each state of the index, however many ask."""

from __future__ import annotations

import asyncio

from adapterworks.gateway.gateway import Gateway
from adapterworks.registry.releases.types import NameRow

_PAGE = 500


class Catalogue:
    """All names in order, as of the index's last change that was seen."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._rows: list[NameRow] = []
        self._epoch: int | None = None
        self._reading = asyncio.Lock()

    async def rows(self) -> list[NameRow]:
        """The names; read by one caller while the others wait for it.

        Raises:
            Unavailable: the index does not answer.
        """
        async with self._reading:
            epoch = self._gateway.resolver.epoch
            if epoch != self._epoch:
                self._rows = await asyncio.to_thread(self._read)
                self._epoch = epoch
            return self._rows

    def _read(self) -> list[NameRow]:
        rows: list[NameRow] = []
        after: str | None = None
        while page := self._gateway.registry.names(limit=_PAGE, after=after):
            rows += page
            after = page[-1].name
        return rows
