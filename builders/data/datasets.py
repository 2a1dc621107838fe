"""Rows of a dataset of the registry: read by digest, and written as the registry keeps them.

Invariant: a row is one line of canonical JSON, all of it, so that equal rows are equal bytes and a
dataset needs no format to be read. What is read has the digest that the record names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.datasheet import Datasheet
from adapterworks.builders.data.rows import Row, from_record, rows_digest, to_record
from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.sources import DatasetSource
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.record import SPLITS, Part, Split
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.remotes.http.datasets import open_datasets

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

Rows = Mapping[Split, Sequence[Row]]


def read_dataset(
    registry: Registry, source: DatasetSource, split: Split
) -> tuple[tuple[Row, ...], Datasheet]:
    """The rows of one split, and their datasheet.

    Args:
        split: where the source names none.

    Raises:
        NotFound: there is no such dataset.
        InvalidInput: it has no rows of that split.
        Refused: its rows were erased.
    """
    datasets = open_datasets(registry)
    dataset = datasets.get(source.name, source.selector)
    wanted: Split = next((name for name in SPLITS if name == source.split), split)
    part = dataset.record.splits.get(wanted)
    if part is None:
        there = ", ".join(f"`#{name}`" for name in dataset.record.splits)
        raise InvalidInput(
            f"`{dataset.ref}` has no {wanted} rows",
            hint=f"it has {there}; divide it: adapters dataset split {dataset} --{wanted} 0.1",
        )
    rows = decode(datasets.read(part.digest))
    label = f"{dataset.ref}#{wanted}"
    numbered = (row.with_meta(source=label, row=number) for number, row in enumerate(rows, start=1))
    sheet = Datasheet(
        str(source), f"{dataset.ref}#{wanted} {dataset.digest}", dataset.record.license,
        {f"{dataset}#{wanted}": part.digest}, part.content, part.rows,
        description=dataset.record.description,
    )  # fmt: skip
    return tuple(numbered), sheet


def rows_of(datasets: Datasets, dataset: Dataset) -> dict[Split, tuple[Row, ...]]:
    """All rows of a dataset.

    Raises:
        Refused: some were erased.
    """
    splits = dataset.record.splits
    return {split: decode(datasets.read(part.digest)) for split, part in splits.items()}


def encode(rows: Iterable[Row]) -> bytes:
    """Rows as lines of canonical JSON, without what says where they were read.

    Raises:
        InvalidInput: a value of a row's columns is none that JSON holds exactly.
    """
    lines = []
    for number, row in enumerate(rows, start=1):
        record = to_record(row)
        record["meta"] = {k: v for k, v in row.meta.items() if k not in ("row", "source", "mix")}
        try:
            lines.append(canonical_json(record))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(
                f"row {row.number or number} has a column that JSON does not hold exactly: {error}",
                hint="write it as text",
            ) from error
    return b"".join(line + b"\n" for line in lines)


def decode(data: bytes) -> tuple[Row, ...]:
    """The rows that `encode` wrote."""
    return tuple(from_record(json.loads(line)) for line in data.splitlines())


def part_of(rows: Sequence[Row], data: bytes) -> Part:
    """What a record says of a split."""
    return Part(
        digest=digest_bytes(data), size=len(data), rows=len(rows), content=rows_digest(rows)
    )
