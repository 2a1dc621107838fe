"""Of what `discover` says, who is asked."""

from __future__ import annotations

from adapterworks.gateway.config.place import InDns, InFile, Place
from adapterworks.gateway.discovery.dns import DnsFinder
from adapterworks.gateway.discovery.file import FileFinder
from adapterworks.gateway.discovery.finder import Finder
from adapterworks.gateway.discovery.kubernetes import KubernetesFinder


def open_finder(place: Place, *, tls: bool = False) -> Finder:
    """Who says which engines are at a place; asks nothing yet.

    Args:
        tls: engines whose place says no scheme are spoken to with TLS.
    """
    if isinstance(place, InFile):
        return FileFinder(place.path)
    if isinstance(place, InDns):
        return DnsFinder(place, tls=tls)
    return KubernetesFinder(place, tls=tls)
