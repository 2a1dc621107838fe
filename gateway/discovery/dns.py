"""Engines behind a DNS name: its addresses of one family with one port, or an SRV record's targets.

A headless Kubernetes service, Consul and most clouds answer so. Asked of the resolver that the
machine is set up with.

One answer need not name all: of several name servers one may lag behind, some give a part of a long
list, and where the question for IPv4 is lost the one for IPv6 is answered. What is named is there
at once; what is named no more is believed after `_ANSWERS` in a row.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from adapterworks.gateway.config.place import InDns
from adapterworks.gateway.discovery.finder import NotTold

_ANSWERS = 6


class DnsFinder:
    """Asks for the name each time; a name that does not exist (any more) changes nothing."""

    def __init__(self, place: InDns, *, tls: bool = False) -> None:
        self._place = place
        self._scheme = "https" if tls else "http"
        self._answers = deque[set[tuple[str, int]]](maxlen=_ANSWERS)

    async def urls(self) -> frozenset[str]:
        """See `Finder`."""
        if self._place.port is None:
            self._answers.append(await self._targets())
        else:
            self._answers.append(await self._addresses(self._place.port))
        found = set().union(*self._answers)
        if self._place.port is not None:
            found = _of_one_family(found)
        return frozenset(f"{self._scheme}://{host}:{port}" for host, port in found)

    async def close(self) -> None:
        """Nothing is held."""

    async def _addresses(self, port: int) -> set[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._place.name, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotTold(f"DNS says nothing of `{self._place.name}`: {error}") from error
        return {(str(address[0]), port) for *_, address in found}

    async def _targets(self) -> set[tuple[str, int]]:
        import dns.asyncresolver
        import dns.exception

        try:
            answer = await dns.asyncresolver.resolve(self._place.name, "SRV")
        except (dns.exception.DNSException, OSError) as error:
            raise NotTold(f"DNS says nothing of `{self._place.name}`: {error}") from error
        return {(record.target.to_text(omit_final_dot=True), record.port) for record in answer}


def _of_one_family(found: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """A machine that has addresses of both families is one engine, by IPv4."""
    four = {(host, port) for host, port in found if ":" not in host}
    return four or {(f"[{host}]", port) for host, port in found}
