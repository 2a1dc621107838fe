"""The datasets of a registry: added, listed, read; and the seals of every test set.

    put rows, record and seal under a lease → one transaction: number, row, seal

Invariants:
- Versions of a name are 1, 2, 3, … without a gap; what is listed is complete, and stays.
- The bytes of what is listed are held by leases without an end, so gc keeps them.
- Whoever adds training rows has seen every seal that stands when they are listed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, IntegrityError, NotFound, Refused
from adapterworks.registry.blobs.store import read_blob
from adapterworks.registry.datasets import erased, schema
from adapterworks.registry.datasets.erased import ErasedRow
from adapterworks.registry.datasets.listed import (
    Dataset,
    SealedSet,
    add_row,
    dataset_of,
    find_row,
    seal_row,
    sealed_sets,
)
from adapterworks.registry.datasets.record import DatasetRecord, Split
from adapterworks.registry.datasets.seal import check_seal
from adapterworks.registry.index import absences
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.deposit import Deposit

_datasets = schema.datasets
_RELISTED = "listed again from the store"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class Datasets:
    """Datasets and seals, in the registry's stores."""

    def __init__(self, registry: Registry) -> None:
        schema.migrate(registry.database)
        self._registry, self._database = registry, registry.database

    def add(
        self,
        record: DatasetRecord,
        parts: Mapping[Split, bytes],
        *,
        seal: bytes | None,
        seen: Sequence[SealedSet],
        marks: frozenset[str] = frozenset(),
        who: str,
        why: str = "",
    ) -> tuple[Dataset, bool]:
        """List a dataset as the next version of its name; returns it, and whether it is new.

        Args:
            record: its parts are those of `parts`.
            parts: the bytes of every split.
            seal: of its test rows, if it has any.
            seen: the seals that its training rows were held against.
            marks: of its rows (`erased.mark_of`), none of which may be erased meanwhile.

        Raises:
            Conflict: a test set was sealed meanwhile, or a row erased.
            Refused: bytes of it were erased here.
            IntegrityError: the bytes are not what the record says.
        """
        if {split: digest_bytes(data) for split, data in parts.items()} != {
            split: part.digest for split, part in record.splits.items()
        }:
            raise IntegrityError(f"the rows of `{record.name}` are not what its record says")
        same = self.newest(record.name)
        if same is not None and same.record.says_the_same(record):
            return same, False
        blobs = {digest_bytes(data): data for data in (*parts.values(), record.to_bytes())}
        if seal is not None:
            check_seal(seal)
            blobs[digest_bytes(seal)] = seal
        with self._database.read() as connection:
            if gone := absences.erased(connection, blobs):
                raise Refused(
                    f"rows of `{record.name}` were {next(iter(gone.values()))}",
                    hint="what was erased does not come back; add the rows that may be kept",
                )
        lease = self._hold("dataset", blobs, record.name)
        new = False
        try:
            added, new = self._list(record, seal, seen, marks, lease, who, why)
            return added, new
        finally:
            if not new:  # its bytes are held already, or nothing of it is listed
                self._let_go(lease)

    def _list(
        self,
        record: DatasetRecord,
        seal: bytes | None,
        seen: Sequence[SealedSet],
        marks: frozenset[str],
        lease: str,
        who: str,
        why: str,
    ) -> tuple[Dataset, bool]:
        with self._database.write() as connection:
            known = find_row(connection, _datasets.c.digest == record.digest)
            if known is not None:
                return dataset_of(known), False
            if {of.blob for of in sealed_sets(connection)} - {of.blob for of in seen}:
                raise Conflict(
                    "a test set was sealed while these rows were looked at",
                    hint="do it again: the rows are then held against that one too",
                )
            if marks and not marks.isdisjoint(row.mark for row in erased.listed(connection)):
                raise Conflict(
                    "a row was erased while these rows were looked at",
                    hint="do it again: it is then named",
                )
            added = add_row(connection, record, who, why)
            if seal is not None:
                seal_row(connection, digest_bytes(seal), added.ref)
            holding.keep(connection, lease)
            return added, True

    def relist(
        self, deposit: Deposit, record: DatasetRecord | None, seals: Sequence[str], *, who: str
    ) -> list[str]:
        """List again what a deposit in the store is about; see `relist.py`.

        Args:
            record: the dataset's; None where its rows are not there, or it is a seal alone.
            seals: digests of seals among its blobs.

        Returns what was listed: a dataset as manifests name it, the owners of seals.
        """
        self._registry.require_own_store()
        with self._database.write() as connection:
            owner, listed = deposit.holder, []
            if record is not None:
                known = find_row(connection, _datasets.c.digest == record.digest)
                if known is None:
                    owner = add_row(connection, record, who, _RELISTED).ref
                    listed.append(owner)
                else:
                    owner = dataset_of(known).ref
            elif deposit.kind == "dataset":
                owner = f"dataset:{deposit.holder}"
            listed += [owner for blob in seals if seal_row(connection, blob, owner)]
            holding.take_over(connection, deposit)
            return listed

    def seal(self, data: bytes, owner: str) -> None:
        """Seal a test set for ever; doing it again does nothing.

        Args:
            data: what rows are recognised by (`builders.data.gates.seals.py`), no text.
            owner: what it is the test set of, for people.

        Raises:
            InvalidInput: it is no seal.
        """
        check_seal(data)
        blob = digest_bytes(data)
        if any(of.blob == blob for of in self.seals()):
            with self._database.write() as connection:
                seal_row(connection, blob, owner)
            return
        lease = self._hold("seal", {blob: data}, owner)
        try:
            with self._database.write() as connection:
                seal_row(connection, blob, owner)
                holding.keep(connection, lease)
        except BaseException:
            self._let_go(lease)
            raise

    def seals(self) -> list[SealedSet]:
        """Every sealed test set, each once for each that it is the test set of; oldest first."""
        with self._database.read() as connection:
            return sealed_sets(connection)

    def erased_rows(self) -> Sequence[ErasedRow]:
        """Every row that was erased from datasets here."""
        with self._database.read() as connection:
            return erased.listed(connection)

    def erased_part(self, blob: str) -> Collection[str] | None:
        """The marks of the rows of a split whose bytes were erased; None where nobody knows."""
        with self._database.read() as connection:
            return erased.of_part(connection, blob)

    def read(self, blob: str) -> bytes:
        """Bytes of a part or a seal, verified.

        Raises:
            Refused: they were erased.
            IntegrityError: they are missing or damaged.
        """
        with self._database.read() as connection:
            gone = absences.erased(connection, [blob])
        if gone:
            raise Refused(
                f"the rows were {gone[blob]}",
                hint="the newest version of the dataset has the rows that remain",
            )
        return read_blob(self._registry.blobs, blob)

    def get(self, name: str, selector: str | None = None) -> Dataset:
        """A version by number or digest; the newest one without.

        Raises:
            NotFound: there is no such dataset.
        """
        where = _datasets.c.name == name
        if selector is not None:
            where &= (
                _datasets.c.version == int(selector)
                if _VERSION.fullmatch(selector)
                else _datasets.c.digest == selector
            )
        with self._database.read() as connection:
            row = find_row(connection, where)
        if row is None:
            raise NotFound(
                f"there is no dataset `{name}{f'@{selector}' if selector else ''}`",
                hint="see which there are: adapters dataset list",
            )
        return dataset_of(row)

    def newest(self, name: str) -> Dataset | None:
        """The newest version of a name, if there is one."""
        with self._database.read() as connection:
            row = find_row(connection, _datasets.c.name == name)
        return None if row is None else dataset_of(row)

    def find(self, digest: str) -> Dataset | None:
        """The dataset of a digest, whatever its name."""
        with self._database.read() as connection:
            row = find_row(connection, _datasets.c.digest == digest)
        return None if row is None else dataset_of(row)

    def list(self, name: str | None = None) -> list[Dataset]:
        """Every version (of a name), by name, newest first."""
        query = sa.select(_datasets).order_by(_datasets.c.name, _datasets.c.version.desc())
        if name is not None:
            query = query.where(_datasets.c.name == name)
        with self._database.read() as connection:
            return [dataset_of(row) for row in connection.execute(query)]

    def _hold(self, kind: str, blobs: Mapping[str, bytes], holder: str) -> str:
        self._registry.require_own_store()
        return holding.deposit(self._database, self._registry.blobs, kind, blobs, holder=holder)

    def _let_go(self, lease: str) -> None:
        with self._database.write() as connection:
            leases.end(connection, lease)
