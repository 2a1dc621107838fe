"""All sources of a manifest, read: its own rows, and those of `data.mix` behind what it trains on.

Nothing is judged or sampled here; each row of the mix says which of its sources it is of.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.load import (
    Loaded,
    Splits,
    load_rows,
    load_source,
    take,
    with_system,
)
from adapterworks.builders.data.many import joined, mapped
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.steps import with_separator
from adapterworks.manifests.data_tables import MixTable, ReplayTable
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

PART = "mix"  # meta key until rows are sampled: position of the row's source in `data.mix`


def gather(
    manifest: Manifest, *, cache: Path | None = None, registry: Registry | None = None
) -> Splits:
    """The manifest's own rows with those of `data.mix` behind its training rows, unsampled.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    splits = load_rows(manifest, cache=cache, registry=registry)
    separator = getattr(manifest.objective, "separator", None)
    if separator is not None:  # whoever looks at the rows' steps has to know how they end
        ended = partial(with_separator, separator)
        splits = replace(
            splits,
            train=mapped(ended, splits.train),
            validation=mapped(ended, splits.validation),
            test=mapped(ended, splits.test),
        )
    train, datasheets = [splits.train], [*splits.datasheets]
    for position, part in enumerate(manifest.data.mix):
        loaded = load_part(part, manifest, cache, registry)
        rows = with_system(take(loaded.rows, part.limit), manifest.data.system)
        train.append(mapped(partial(_of_part, position), rows))
        datasheets.append(loaded.datasheet)
    return replace(splits, train=joined(*train), datasheets=tuple(datasheets))


def _of_part(position: int, row: Row) -> Row:
    return row.with_meta(**{PART: position})


def load_part(
    part: MixTable | ReplayTable,
    manifest: Manifest,
    cache: Path | None,
    registry: Registry | None,
) -> Loaded:
    """A further source of training rows; columns are renamed as those of `data.train` unless it
    has a format or columns of its own.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_source`.
    """
    data = manifest.data
    columns = part.columns
    if columns is None:
        columns = data.columns if part.format in (None, data.format) else {}
    return load_source(
        part.source,
        part.format or data.format,
        columns=columns,
        ignore=data.ignore,
        cache=cache,
        folder=manifest.folder,
        registry=registry,
    )
