"""Origins: what a release was made of, and which releases were made of something."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.index import links, lookup
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.reading.diff import read_lock
from adapterworks.registry.reading.lineage import Lineage, ancestors, lineage, parents_of
from adapterworks.registry.releases.release import Parent, parent_of
from adapterworks.registry.releases.types import Resolved


class Origins:
    """Releases by what they were made of (`Registry.origins`)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def find_plan(self, name: str, plan: str) -> Resolved | None:
        """The newest live version of a name that was built here from a plan digest."""
        with self._catalog.database.read() as connection:
            return lookup.find_plan(connection, name, plan)

    def find_stages(self, stage: str, digest: str) -> list[Resolved]:
        """The live versions built here whose `digests.STAGE` is this one, newest first.

        Args:
            stage: `train`, `evaluate` or `publish`.
        """
        with self._catalog.database.read() as connection:
            return lookup.find_stages(connection, stage, digest)

    def releases_from(self, kind: Literal["parent", "data"], digest: str) -> list[Resolved]:
        """The live versions made from a release (`parent`) or from rows (`data`), by digest."""
        with self._catalog.database.read() as connection:
            return lookup.releases_from(connection, kind, digest)

    def descendants(self, digests: Iterable[str], *, but: str | None = None) -> list[Resolved]:
        """The live versions that come from releases or datasets, however far back, through deleted
        ones too: nearest first.

        Args:
            but: a relation that nothing comes by, as `test`.
        """
        found: dict[str, Resolved] = {}
        waiting = deque(digests)
        seen = {*waiting}
        with self._catalog.database.read() as connection:
            while waiting:
                digest = waiting.popleft()
                row = lookup.find_release(connection, digest)
                # Old records name a parent by its name alone.
                for target in (digest, *([] if row is None else [f"{row.name}@{row.version}"])):
                    for live in lookup.releases_from(connection, "parent", target, but=but):
                        found.setdefault(live.digest, live)
                    children = links.releases_of("parent", target, but=but)
                    for child in connection.execute(children):
                        if child.release not in seen:
                            seen.add(child.release)
                            waiting.append(child.release)
        return list(found.values())

    def releases_with(self, blob: str) -> list[Resolved]:
        """The live versions that have a blob among their files, oldest first."""
        with self._catalog.database.read() as connection:
            return lookup.releases_with(connection, blob)

    def lineage(self, ref: Ref | str) -> Lineage:
        """What a release was made from: base, data, code, packages, parents."""
        resolved = self._catalog.resolve(ref)
        release = self._catalog.release(resolved.digest)
        lock = read_lock(self._catalog.read, resolved, release)
        found = ancestors(resolved, self.parents, self._find_release)
        return lineage(resolved, release, lock, found)

    def parents(self, digest: str) -> tuple[Parent, ...]:
        """What a release was made from, by its record, or by the index if it was deleted."""
        try:
            release = self._catalog.release(digest)
            lock = read_lock(
                self._catalog.read, self._catalog.resolve(f"{release.name}@{digest}"), release
            )
            return parents_of(release, lock)
        except (NotFound, IntegrityError):
            with self._catalog.database.read() as connection:
                row = lookup.find_release(connection, digest)
                kept = links.parents(connection, digest)
            if not kept and row is not None and row.parent is not None:
                kept = [("parent", row.parent)]
            return tuple(parent_of(relation, target) for relation, target in kept)

    def _find_release(self, text: str) -> AnyRow | None:
        with self._catalog.database.read() as connection:
            return lookup.find_release(connection, text)
