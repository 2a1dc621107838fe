"""Datasets and seals are listed again from the store, where the index was lost or is an old copy.

Each has a deposit there (`releases/deposit.py`) that names its blobs, and says itself what it is: a
dataset by its record, a seal by its form. Numbers are given anew, after those that are listed, by
when the datasets were made. Files of tenants cannot be listed: whose they are is in a backup only.

Invariant: doing it again lists nothing twice, and a test set whose rows are gone stays sealed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from adapterworks.manifests.errors import IntegrityError, InvalidInput
from adapterworks.registry.blobs.store import read_blob
from adapterworks.registry.datasets.record import DatasetRecord
from adapterworks.registry.datasets.seal import MAGIC, check_seal
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.deposit import Deposit

_MOST = 1 << 20  # bytes of a dataset's record


@dataclass(frozen=True, slots=True)
class Told:
    """What a deposit is about.

    Attributes:
        record: the dataset's, if all of its rows are there.
        seals: digests of seals among its blobs.
    """

    deposit: Deposit
    record: DatasetRecord | None
    seals: tuple[str, ...]


def unlisted(registry: Registry) -> list[Told]:
    """What the store has of datasets, seals and files and the index does not know."""
    found = [_told(registry, deposit) for deposit in registry.upkeep.unlisted_deposits()]
    return sorted(
        found,
        key=lambda told: ("" if told.record is None else told.record.created, told.deposit.id),
    )


def count(found: list[Told]) -> Mapping[str, int]:
    """How many datasets and seals can be listed, and what cannot: `datasets`, `seals`, `left`."""
    counts = Counter({"datasets": 0, "seals": 0, "left": 0})
    for told in found:
        counts["datasets"] += told.record is not None
        counts["seals"] += len(told.seals)
        counts["left"] += not (told.record or told.seals)
    return counts


def relist(registry: Registry, *, who: str) -> list[str]:
    """List what can be; returns `dataset:NAME@VERSION` and the owners of seals."""
    datasets, listed = Datasets(registry), []
    for told in unlisted(registry):
        if told.record is not None or told.seals:
            listed += datasets.relist(told.deposit, told.record, told.seals, who=who)
    return listed


def _told(registry: Registry, deposit: Deposit) -> Told:
    if deposit.kind not in ("dataset", "seal"):
        return Told(deposit, None, ())
    there = [blob for blob in deposit.blobs if registry.blobs.exists(blob)]
    record, seals = None, []
    for blob in there:
        try:
            data = read_blob(registry.blobs, blob)
        except IntegrityError:
            continue
        if data.startswith(MAGIC):
            try:
                check_seal(data)
            except InvalidInput:
                continue
            seals.append(blob)
        elif len(data) <= _MOST:
            record = _record(data) or record
    if record is not None and not {part.digest for part in record.splits.values()} <= {*there}:
        record = None
    return Told(deposit, record, tuple(seals))


def _record(data: bytes) -> DatasetRecord | None:
    try:
        record = DatasetRecord.model_validate_json(data)
    except (ValidationError, ValueError):
        return None
    return record if record.to_bytes() == data else None
