"""Every path of the registry with the role that it asks for: who may do what is read here."""

from __future__ import annotations

from starlette.routing import Route

from adapterworks.gateway.http.routes.registry import access, blobs, reading, release
from adapterworks.gateway.http.routes.registry.access import Reading
from adapterworks.gateway.tokens.roles import Role

TABLE: tuple[Reading, ...] = (
    Reading("/me", Role.READER, reading.me),
    Reading("/adapters", Role.READER, reading.adapters),
    Reading("/adapters/{name}", Role.READER, reading.adapter),
    Reading("/adapters/{name}/versions", Role.READER, reading.versions),
    Reading("/adapters/{name}/versions/{version}", Role.READER, reading.version),
    Reading("/adapters/{name}/aliases", Role.READER, reading.aliases),
    Reading("/adapters/{name}/log", Role.READER, reading.log),
    Reading("/adapters/{name}/lineage", Role.READER, reading.lineage),
    Reading("/search", Role.READER, reading.search),
    Reading("/refs/{ref}", Role.READER, reading.resolved),
    Reading("/releases/{ref}", Role.READER, release.release),
    Reading("/releases/{ref}/diff/{other}", Role.READER, reading.differences),
    Reading("/blobs/{digest}", Role.READER, blobs.blob),
)


def routes() -> list[Route]:
    """The paths."""
    return access.routes(TABLE)
