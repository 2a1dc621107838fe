"""Engines behind a DNS name: its addresses of one family with one port, or an SRV record's targets.

A headless Kubernetes service, Consul and most clouds answer so. Asked of the resolver that the
machine is set up with.
"""

from __future__ import annotations

import asyncio
import socket

from adapterworks.gateway.config.place import InDns
from adapterworks.gateway.discovery.finder import NotTold


class DnsFinder:
    """Asks for the name each time; a name that does not exist (any more) changes nothing."""

    def __init__(self, place: InDns, *, tls: bool = False) -> None:
        self._place = place
        self._scheme = "https" if tls else "http"

    async def urls(self) -> frozenset[str]:
        """See `Finder`."""
        if self._place.port is None:
            found = await self._targets()
        else:
            found = await self._addresses(self._place.port)
        return frozenset(f"{self._scheme}://{host}:{port}" for host, port in found)

    async def close(self) -> None:
        """Nothing is held."""

    async def _addresses(self, port: int) -> set[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._place.name, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotTold(f"DNS says nothing of `{self._place.name}`: {error}") from error
        hosts = {str(address[0]) for *_, address in found}
        # A machine that has addresses of both families is one engine, by IPv4.
        four = {host for host in hosts if ":" not in host}
        return {(host, port) for host in four} or {(f"[{host}]", port) for host in hosts}

    async def _targets(self) -> set[tuple[str, int]]:
        import dns.asyncresolver
        import dns.exception

        try:
            answer = await dns.asyncresolver.resolve(self._place.name, "SRV")
        except (dns.exception.DNSException, OSError) as error:
            raise NotTold(f"DNS says nothing of `{self._place.name}`: {error}") from error
        return {(record.target.to_text(omit_final_dot=True), record.port) for record in answer}
