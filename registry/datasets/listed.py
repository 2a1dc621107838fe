"""Datasets and sealed test sets as the index lists them; all in the transaction of the caller.

Invariant: the record of a row has the digest that the row says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.datasets import schema
from adapterworks.registry.datasets.record import DatasetRecord
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.releases.types import now

_datasets, _seals = schema.datasets, schema.seals


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version: its number, its record, who added it, when and why."""

    version: int
    digest: str
    record: DatasetRecord
    at: str
    who: str
    why: str

    @property
    def ref(self) -> str:
        """As manifests name it."""
        return f"dataset:{self}"

    def __str__(self) -> str:
        return f"{self.record.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class SealedSet:
    """A test set whose rows may not be trained on: its blob, what it was the test set of, and since
    when it is sealed (RFC 3339; empty where a server of before does not say)."""

    blob: str
    owner: str
    at: str = field(default="", compare=False)


def find_row(connection: Connection, where: sa.ColumnElement[bool]) -> AnyRow | None:
    """The newest version of those that are asked for."""
    query = sa.select(_datasets).where(where).order_by(_datasets.c.version.desc()).limit(1)
    return connection.execute(query).first()


def add_row(connection: Connection, record: DatasetRecord, who: str, why: str) -> Dataset:
    """List the record as the next version of its name."""
    last = connection.scalar(
        sa.select(sa.func.max(_datasets.c.version)).where(_datasets.c.name == record.name)
    )
    version, at = (last or 0) + 1, now()
    connection.execute(
        sa.insert(_datasets).values(
            name=record.name, version=version, digest=record.digest,
            record=record.to_bytes().decode(), at=at, who=who, why=why,
        )
    )  # fmt: skip
    return Dataset(version, record.digest, record, at, who, why)


def seal_row(connection: Connection, blob: str, owner: str) -> bool:
    """Seal it for an owner; returns whether it was not yet."""
    known = sa.select(_seals.c.blob).where(_seals.c.blob == blob, _seals.c.owner == owner)
    if connection.scalar(known) is not None:
        return False
    connection.execute(sa.insert(_seals).values(blob=blob, owner=owner, at=now()))
    return True


def sealed_sets(connection: Connection) -> list[SealedSet]:
    """Every sealed test set, oldest first."""
    query = sa.select(_seals).order_by(_seals.c.at, _seals.c.blob, _seals.c.owner)
    return [SealedSet(row.blob, row.owner, row.at) for row in connection.execute(query)]


def dataset_of(row: AnyRow) -> Dataset:
    """A row as a dataset.

    Raises:
        IntegrityError: it is not what was listed.
    """
    if digest_bytes(row.record.encode()) != row.digest:
        raise IntegrityError(f"the record of `{row.name}@{row.version}` is damaged in the index")
    record = DatasetRecord.model_validate(json.loads(row.record))
    return Dataset(row.version, row.digest, record, row.at, row.who, row.why)
