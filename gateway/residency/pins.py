"""Which releases are kept loaded: what the configuration names, and what manifests declare.

Invariant: a pin follows its alias. Whenever the index changes it is read again: what an alias holds
now is pinned, and what no pinned alias holds any more may be unloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from adapterworks.gateway.residency.declared import Declared
from adapterworks.gateway.residency.residency import Residency
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.manifests.refs import parse_ref
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

_PAGE = 200
_AT_ONCE = 16  # records that are read
_log = logging.getLogger(__name__)


class Pins:
    """The pins of one gateway.

    Args:
        refs: `[residency] pins`.
    """

    def __init__(self, registry: Registry, refs: Iterable[str]) -> None:
        self._registry = registry
        self._refs = tuple(refs)
        self._declared = Declared(registry.database)
        self._reported: set[str] = set()
        self._pinned: dict[str, Release] = {}

    def name(self, refs: Iterable[str]) -> None:
        """The configuration names these now."""
        self._refs = tuple(refs)

    def read(self) -> dict[str, Release]:
        """What should be pinned now, by digest. Blocking; call it from a thread.

        Raises:
            Unavailable: the index does not answer.
        """
        wanted: dict[str, Release] = {}
        for ref in self._refs:
            try:
                digest = self._registry.resolve(parse_ref(ref)).digest
                wanted[digest] = self._registry.release(digest)
                self._reported.discard(ref)
            except Unavailable:
                raise  # nothing is known of the pin, which is no reason to let it go
            except AdapterworksError as error:
                self._report(ref, error)
        self._read_new()
        for digest in self._declared.pinned():
            release = self._release(digest)
            if release is not None:
                wanted[digest] = release
        return wanted

    def _read_new(self) -> None:
        """Find out what releases declare that nobody has read yet, and keep it for everybody."""
        unread = self._declared.unread()
        if not unread:
            return
        # A record is small: from an object store it is the answer that takes time.
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="records") as readers:
            for start in range(0, len(unread), _PAGE):
                page = unread[start : start + _PAGE]
                releases = zip(page, readers.map(self._release, page), strict=True)
                found = {
                    digest: bool(release.declared("serve").get("pinned", False))
                    for digest, release in releases
                    if release is not None
                }
                self._declared.note(found)

    def apply(self, wanted: Mapping[str, Release], residencies: Mapping[str, Residency]) -> None:
        """Pin these and no others.

        Args:
            residencies: by the id of their engine.
        """
        gone = {r.name for d, r in self._pinned.items() if d not in wanted}
        for residency in residencies.values():
            for name in gone:
                residency.unpin(name, keep=set(wanted))
            for release in wanted.values():
                if residency.base_digest == release.base.digest:
                    residency.pin(release)
            residency.warn_of_pins()
            residency.pins_are_told()
        self._pinned = dict(wanted)

    def held(self, name: str) -> set[str]:
        """The digests of a name that are pinned now."""
        return {digest for digest, release in self._pinned.items() if release.name == name}

    def _release(self, digest: str) -> Release | None:
        """A release; None for one that is damaged.

        Raises:
            Unavailable: the index does not answer.
        """
        try:
            return self._registry.release(digest)
        except Unavailable:
            raise
        except AdapterworksError as error:
            self._report(digest, error)
            return None

    def _report(self, what: str, error: AdapterworksError) -> None:
        if what not in self._reported:  # once, not at each change of the index
            self._reported.add(what)
            _log.warning("not pinned: %s", error.message)
