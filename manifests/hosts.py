"""Which hosts are this machine: what is sent there leaves it by no network."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by itself: `localhost`, or an address of the loopback.

    Args:
        host: a name or an address, without brackets and port; no name but `localhost` is looked up.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
