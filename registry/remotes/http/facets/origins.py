"""Origins of releases behind a server."""

from __future__ import annotations

from typing import Literal

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.facets.origins import Origins
from adapterworks.registry.reading.lineage import Lineage
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.link import part


class RemoteOrigins(Origins):
    """Releases there by what they were made of."""

    def __init__(self, server: RemoteCatalog) -> None:
        super().__init__(server)
        self._server = server

    def find_plan(self, name: str, plan: str) -> Resolved | None:
        """The newest live version of a name that was built for it from a plan digest."""
        return next(iter(self._found("plan", plan, name=name)), None)

    def find_stages(self, stage: str, digest: str) -> list[Resolved]:
        """The live versions whose stage has a digest."""
        return self._found("stage", digest, stage=stage)

    def releases_from(self, kind: Literal["parent", "data"], digest: str) -> list[Resolved]:
        """The live versions made from a release or from rows."""
        return self._found(kind, digest)

    def releases_with(self, blob: str) -> list[Resolved]:
        """The live versions that have a blob among their files."""
        return self._found("blob", blob)

    def lineage(self, ref: Ref | str) -> Lineage:
        """What a release was made from."""
        resolved = self._server.resolve(ref)
        way = f"/adapters/{part(resolved.name)}/lineage"
        return self._server.link.get(way, Lineage, version=resolved.version)

    def parents(self, digest: str) -> tuple[Parent, ...]:
        """What a release was made from, by its record; of one that was deleted there, nothing."""
        try:
            return self._server.release(digest).parents
        except (NotFound, InvalidInput):
            return ()

    def _found(self, by: str, digest: str, **query: str) -> list[Resolved]:
        told = self._server.link.get(
            "/found", dict[str, list[Resolved]], by=by, digest=digest, **query
        )
        return told["data"]
