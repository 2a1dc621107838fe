"""`[picker]`: where Envoy asks which engine a request goes to."""

from __future__ import annotations

from pydantic import field_validator

from adapterworks.gateway.config.table import Table


class PickerTable(Table):
    """`[picker]`: the endpoint picker behind Envoy (docs/how-to/fleet.md); none unless it listens.

    `listen` is `HOST:PORT` of its gRPC service. Whoever reaches it needs a tenant's key for each
    request, as at the gateway; what is sent is not encrypted, so only Envoy should reach it.
    """

    listen: str | None = None

    @field_validator("listen")
    @classmethod
    def _is_a_place(cls, listen: str | None) -> str | None:
        if listen is None:
            return None
        host, _, port = listen.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("should be a host and a port: `127.0.0.1:9002`")
        return listen
