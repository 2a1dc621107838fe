"""Engines behind a Kubernetes service: its EndpointSlices, asked of the API with the pod's token.

Only endpoints that are ready and not ending are engines: a pod that is told to end leaves at once,
and what it is answering goes on. The pod's account needs `list` of `endpointslices` in the group
`discovery.k8s.io`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from adapterworks.gateway.config.place import InKubernetes
from adapterworks.gateway.discovery.finder import NotTold

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = aiohttp.ClientTimeout(total=10.0)


class KubernetesFinder:
    """Lists the service's slices each time.

    Args:
        api: the API server; as every pod is told it, if None.
        account: folder with `token`, `namespace` and `ca.crt`; the token is read anew each time,
            since the kubelet replaces it.
        tls: the engines speak it.
    """

    def __init__(
        self,
        place: InKubernetes,
        *,
        api: str | None = None,
        account: Path = ACCOUNT,
        tls: bool = False,
    ) -> None:
        self._place, self._api, self._account = place, api, account
        self._scheme = "https" if tls else "http"
        self._session: aiohttp.ClientSession | None = None

    async def urls(self) -> frozenset[str]:
        """See `Finder`."""
        namespace = self._place.namespace or self._told("namespace")
        url = f"{self._server()}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        asked = {"labelSelector": f"kubernetes.io/service-name={self._place.service}"}
        headers = {"authorization": f"Bearer {self._told('token')}"}
        try:
            async with self._open().get(url, params=asked, headers=headers) as answer:
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NotTold(f"Kubernetes does not answer: {type(error).__name__}") from error
        if answer.status != 200:
            why = said.get("message") if isinstance(said, dict) else None
            raise NotTold(f"Kubernetes refused with {answer.status}: {why}")
        try:
            places = _addresses(said, self._place)
            return frozenset(f"{self._scheme}://{address}" for address in places)
        except (KeyError, TypeError, ValueError) as error:
            raise NotTold(f"Kubernetes said something unknown: {error!r}") from error

    async def close(self) -> None:
        """Close the connection to the API."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = None
            if (self._account / "ca.crt").exists():
                trusted = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
                connector = aiohttp.TCPConnector(ssl=trusted)
            self._session = aiohttp.ClientSession(connector=connector, timeout=_SECONDS)
        return self._session

    def _server(self) -> str:
        if self._api is not None:
            return self._api
        host = os.environ.get("KUBERNETES_SERVICE_HOST")
        if not host:
            raise NotTold("`k8s:` works inside a cluster: KUBERNETES_SERVICE_HOST is not set")
        port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def _told(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self._account / name).read_text().strip()
        raise NotTold(f"the pod's account has no `{name}`: `{self._account / name}` is not there")


def _addresses(said: Mapping[str, Any], place: InKubernetes) -> Iterator[str]:
    """One for each pod: of two families it is in a slice of each, and IPv4's is taken."""
    found: dict[str, str] = {}
    for piece in sorted(said["items"], key=lambda piece: piece.get("addressType") == "IPv6"):
        endpoints = [one for one in piece.get("endpoints") or [] if _takes_requests(one)]
        if not endpoints:
            continue  # a service whose pods have all gone keeps a slice without ports
        port = _port(piece.get("ports") or [], place.port)
        for endpoint in endpoints:
            pod = (endpoint.get("targetRef") or {}).get("uid")
            for address in endpoint["addresses"]:
                host = f"[{address}]" if ":" in address else address
                found.setdefault(pod or address, f"{host}:{port}")
    yield from found.values()


def _takes_requests(endpoint: Mapping[str, Any]) -> bool:
    """Kubernetes' own rule: what is not said of `ready` is yes, of `terminating` no."""
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False and not conditions.get("terminating")


def _port(ports: list[Mapping[str, Any]], wanted: str | None) -> int:
    for port in ports:
        if wanted is None or wanted in (port.get("name"), str(port.get("port"))):
            return int(port["port"])
    raise ValueError(f"the service has no port `{wanted or 'at all'}`")
