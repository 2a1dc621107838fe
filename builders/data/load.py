"""A manifest's sources → its train, validation and test rows, with a datasheet each.

Invariant: the result is a pure function of the manifest and the bytes that its sources hold: no
shuffling, no clock; a `limit` keeps the rows with the smallest digests, in their order, so that
smaller limits are subsets of larger ones and of any machine's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.data.datasets import read_dataset
from adapterworks.builders.data.datasheet import Datasheet
from adapterworks.builders.data.formats import to_rows
from adapterworks.builders.data.many import at, digests, gathered, mapped
from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.remembered import remember
from adapterworks.builders.data.rows import Message, Row, digest_of
from adapterworks.builders.data.sources import read_file, read_hub
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import place, source_label
from adapterworks.manifests.sources import (
    DatasetSource,
    FileSource,
    HubSource,
    LineageSource,
    RecipeSource,
    parse_source,
)

if TYPE_CHECKING:
    from adapterworks.registry.datasets.record import Split
    from adapterworks.registry.registry import Registry

# The sixteen hexadecimal digits of a row's digest that decide on which side it is.
_OF_VALIDATION, _OF_TEST = slice(0, 16), slice(16, 32)


@dataclass(frozen=True)
class Loaded:
    """One source's rows and datasheet."""

    rows: Sequence[Row]
    datasheet: Datasheet


@dataclass(frozen=True)
class Splits:
    """The rows of a manifest; `datasheets` has one entry per source that was read."""

    train: Sequence[Row]
    validation: Sequence[Row]
    test: Sequence[Row]
    datasheets: tuple[Datasheet, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` over the rows of the three splits, in order."""
        return digest_of(chain(*map(digests, (self.train, self.validation, self.test))))


def load_rows(
    manifest: Manifest, *, cache: Path | None = None, registry: Registry | None = None
) -> Splits:
    """The rows that a manifest declares: its own sources, limited, with its system message.

    `data.mix`, `data.replay`, `data.augment` and the gates act on the result of this.

    Args:
        manifest: the resolved manifest; its relative paths begin at its folder.
        cache: folder for results that are expensive to derive, keyed by content digest.
        registry: where datasets are.

    Raises:
        InvalidInput: a source is malformed, or has no row.
        NotFound: a file or recipe does not exist.
        Unavailable: a Hub data set cannot be fetched.
    """
    data = manifest.data
    datasheets: list[Datasheet] = []

    def rows_of(source: str | None, limit: int | None, split: Split) -> Sequence[Row]:
        if source is None:
            return ()
        loaded = load_like(
            manifest, source, cache=cache, folder=manifest.folder, split=split, registry=registry
        )
        datasheets.append(loaded.datasheet)
        return take(loaded.rows, limit)

    test = rows_of(data.test, data.limit_test, "test")
    validation = rows_of(data.validation, data.limit_validation, "validation")
    train = rows_of(data.train, None, "train")
    if data.test is None and data.test_share > 0:
        train, test = split_off(train, data.test_share, digits=_OF_TEST)
        test = take(test, data.limit_test)
    if data.validation is None and data.validation_share > 0:
        train, validation = split_off(train, data.validation_share)
        validation = take(validation, data.limit_validation)
    return Splits(take(train, data.limit), validation, test, tuple(datasheets))


def load_like(
    manifest: Manifest,
    source: str,
    *,
    cache: Path | None,
    folder: Path = Path(),
    split: Split = "train",
    registry: Registry | None = None,
) -> Loaded:
    """The rows of a source, read and put as a manifest's own are.

    Args: as `load_source`.

    Raises: as `load_rows`.
    """
    data = manifest.data
    loaded = load_source(
        source,
        data.format,
        columns=data.columns,
        ignore=data.ignore,
        cache=cache,
        folder=folder,
        split=split,
        registry=registry,
    )
    return replace(loaded, rows=with_system(loaded.rows, data.system))


def load_source(
    source: str,
    format: str,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
    cache: Path | None = None,
    folder: Path = Path(),
    split: Split = "train",
    registry: Registry | None = None,
) -> Loaded:
    """The rows of one source: a recipe, files, a Hub data set, or a dataset of the registry.

    Rows and datasheet tell of a file as `source_label` does: nothing of where it is here.

    Args:
        source: as the manifest has it.
        format: of its rows.
        columns: see `data.columns`.
        ignore: see `data.ignore`.
        cache: folder for results that are expensive to derive.
        folder: where a relative path begins.
        split: of a dataset, where its source names none.
        registry: where datasets are.

    Raises: as `load_rows`.
    """
    parsed = parse_source(source)
    if isinstance(parsed, DatasetSource):
        loaded = _read_dataset(parsed, split, registry)
    elif isinstance(parsed, LineageSource):
        raise InvalidInput("`lineage` is no source by itself", hint="say it under [data.replay]")
    else:
        loaded = _read_source(parsed, source, format, columns, ignore, cache, folder)
    if cache is not None:
        remember(cache, loaded.datasheet.digest, loaded.rows)
    return loaded


def _read_dataset(parsed: DatasetSource, split: Split, registry: Registry | None) -> Loaded:
    if registry is None:
        raise InvalidInput(
            f"`{parsed}` is in a registry, and none was given", hint="read it with a registry"
        )
    return Loaded(*read_dataset(registry, parsed, split))


def _read_source(
    parsed: RecipeSource | HubSource | FileSource,
    source: str,
    format: str,
    columns: Mapping[str, str] | None,
    ignore: Collection[str],
    cache: Path | None,
    folder: Path,
) -> Loaded:
    if isinstance(parsed, RecipeSource):
        return Loaded(*load_recipe(source, cache=cache))
    read = (
        read_hub(parsed, cache=cache)
        if isinstance(parsed, HubSource)
        else read_file(place(parsed.path, folder))
    )
    label = source_label(source)
    rows = mapped(
        lambda row: row.with_meta(source=label),
        to_rows(read.records, format, source=source, columns=columns, ignore=ignore),
    )
    if not rows:
        raise InvalidInput(f"`{source}` has no rows", hint="check the file")
    return Loaded(
        rows,
        Datasheet(
            label, read.origin, read.license, read.files, digest_of(digests(rows)), len(rows)
        ),
    )


def take(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """At most `limit` rows: those with the smallest digests, in their order."""
    if limit is None or len(rows) <= limit:
        return gathered(rows)
    ordered = sorted((digest, index) for index, digest in enumerate(digests(rows)))
    return at(rows, sorted(index for _, index in ordered[:limit]))


def split_off(
    rows: Sequence[Row], share: float, *, digits: slice = _OF_VALIDATION
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Rows → (kept, split off): about `share` of them, chosen by digest, so that equal rows stay
    on one side.

    Args:
        digits: of the digest that decide; what is split off twice is by digits of its own, or the
            second time would find that all with small ones are gone.
    """
    off = [_is_below(digest, share, digits) for digest in digests(rows)]
    kept, apart = (
        at(rows, (index for index, is_off in enumerate(off) if is_off is side))
        for side in (False, True)
    )
    return kept, apart


def on_side(digest: str, share: float, side: Literal["validation", "test"]) -> bool:
    """Whether what has this digest is held out, as `data.validation_share` and `test_share` do."""
    return _is_below(digest, share, _OF_TEST if side == "test" else _OF_VALIDATION)


def _is_below(digest: str, share: float, digits: slice) -> bool:
    return int(digest.removeprefix("sha256:")[digits], 16) < int(share * 2**64)


def with_system(rows: Sequence[Row], system: str | None) -> Sequence[Row]:
    """Conversations without a system turn get this one."""
    if system is None:
        return gathered(rows)
    turn: Message = {"role": "system", "content": system}
    return mapped(
        lambda row: (
            replace(row, messages=(turn, *row.messages))
            if row.messages and row.messages[0]["role"] != "system"
            else row
        ),
        rows,
    )
