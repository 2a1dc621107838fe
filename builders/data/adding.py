"""Rows → a dataset: judged by what may be trained on, encoded, sealed and listed.

Invariants:
- no row that was ever a test row of this registry, or almost is one, is listed among training
  rows; the test rows that come with them are held against them too;
- no row that was erased from this registry is listed again;
- rows that were read from datasets stay whose they were, and are shared with no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.data.datasets import Rows, encode, part_of
from adapterworks.builders.data.gates.erased import erased_among, erased_here, mark
from adapterworks.builders.data.gates.seals import (
    THRESHOLD,
    Match,
    make_seal,
    read_seal,
    sealed_here,
    sealed_rows,
)
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.refs import check_name
from adapterworks.manifests.sources import DATASET, DatasetSource, parse_source
from adapterworks.registry.datasets.erased import ErasedRow
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.owners import SHARES, Claim, of_dataset, recorded, strictest
from adapterworks.registry.datasets.record import SPLITS, DatasetRecord, Share, Split
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.datasets.tenants import Tenants, tenants_of
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.releases.types import now

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a dataset; see `DatasetRecord`. A share that is None is that of the datasets
    which the rows were read from, or `own`."""

    description: str = ""
    license: str = "unknown"
    source: str = ""
    consent: str = ""
    synthetic_from: str | None = None
    reviewed_by: tuple[str, ...] = ()
    tenant: str | None = None
    share: Share | None = None
    parents: tuple[Parent, ...] = ()

    @classmethod
    def after(cls, before: Dataset, relation: Literal["split", "erasure"]) -> About:
        """What was said of a dataset, of the one that is made of it."""
        record = before.record
        return cls(
            description=record.description,
            license=record.license,
            source=record.source,
            consent=record.consent,
            synthetic_from=record.synthetic_from,
            reviewed_by=record.reviewed_by,
            tenant=record.tenant,
            share=None if record.tenant is None else record.share,
            parents=(Parent(relation=relation, digest=before.digest, ref=before.ref),),
        )


@dataclass(frozen=True)
class Added:
    """What came of it.

    Attributes:
        new: false where the newest version says just this already.
        dropped: training rows that were left out because they were ever test rows.
        erased: rows that were left out because they were erased here.
    """

    dataset: Dataset
    new: bool
    dropped: int = 0
    erased: int = 0


def add_dataset(
    registry: Registry,
    name: str,
    rows: Rows,
    about: About,
    *,
    drop_sealed: bool = False,
    judged: bool = False,
    claims: Sequence[Claim] = (),
    who: str,
    why: str = "",
) -> Added:
    """List rows as the next version of a dataset.

    Args:
        drop_sealed: leave out training rows that were ever test rows, and rows that were erased, in
            place of refusing.
        judged: they are a part of rows that were held against the seals before.
        claims: whose rows they are besides what the datasets say that they were read from.

    Raises:
        InvalidInput: there is no row, or no such name can be.
        Refused: training rows were ever test rows, or rows were erased; the message lists them by
            number. Or they are somebody else's than is said.
        Conflict: a test set was sealed meanwhile, or a row erased.
    """
    check_name(name)
    splits: dict[Split, Sequence[Row]] = {name: rows[name] for name in SPLITS if rows.get(name)}
    if not splits:
        raise InvalidInput(f"there are no rows for `{name}`", hint="name files of rows")
    datasets = Datasets(registry)
    owned = _owned(datasets, name, splits, about, claims, tenants_of(registry))
    seen = datasets.seals()
    came_back = erased_in(registry, splits)
    if came_back:
        if not drop_sealed:
            raise _refusal_of_erased(name, splits, came_back)
        gone_back = {(split, index) for split, index, _ in came_back}
        splits = {
            split: [row for at, row in enumerate(of) if (split, at) not in gone_back]
            for split, of in splits.items()
        }
        splits = {split: of for split, of in splits.items() if of}
        if not splits:
            raise _refusal_of_erased(name, rows, came_back)
    test = splits.get("test", ())
    seal = make_seal(test) if test else None
    train = () if judged else splits.get("train", ())
    if found := sealed_in(registry, train, name, seal):
        if not drop_sealed:
            raise _refusal(name, splits["train"], found)
        gone = {match.index for match in found}
        splits["train"] = [row for at, row in enumerate(splits["train"]) if at not in gone]
        if not splits["train"]:
            raise _refusal(name, rows["train"], found)
    parts = {split: encode(of) for split, of in splits.items()}
    record = DatasetRecord(
        name=name,
        created=now(),
        created_by=registry.author,
        splits={split: part_of(splits[split], data) for split, data in parts.items()},
        description=about.description,
        license=about.license,
        source=about.source,
        consent=about.consent,
        synthetic_from=about.synthetic_from,
        reviewed_by=about.reviewed_by,
        tenant=owned.tenant,
        share=owned.share or "own",
        parents=owned.parents,
    )
    marks = frozenset(mark(row) for of in splits.values() for row in of)
    added, new = datasets.add(record, parts, seal=seal, seen=seen, marks=marks, who=who, why=why)
    return Added(added, new, len(found), len(came_back))


def _owned(
    datasets: Datasets,
    name: str,
    splits: Mapping[Split, Sequence[Row]],
    about: About,
    claims: Sequence[Claim],
    called: Tenants,
) -> About:
    """What is said of them, with whose they are by where they were read.

    Raises:
        InvalidInput: nobody's rows are shared with nobody.
        Refused: they are of two tenants, of another than is named, or are to be shared with more
            than their owner lets them be.
    """
    read = {dataset.digest: dataset for dataset in _read_from(datasets, splits)}
    known = {parent.digest for parent in about.parents}
    parents = [
        Parent(relation="rows", digest=dataset.digest, ref=dataset.ref)
        for dataset in read.values()
        if dataset.digest not in known
    ]
    above = (datasets.find(parent.digest or "") for parent in about.parents)
    held = [*claims]
    for dataset in (*read.values(), *(one for one in above if one is not None)):
        held += of_dataset(datasets, dataset)
    shares = recorded(replace(claim, tenant=called.name(claim.tenant)) for claim in held)
    tenants = sorted({*shares, *([] if about.tenant is None else [called.name(about.tenant)])})
    if len(tenants) > 1:
        said = "; ".join(dict.fromkeys(map(str, held)))
        raise Refused(
            f"the rows of `{name}` would be of several tenants: {', '.join(tenants)} ({said})",
            hint="make a dataset for each; an adapter may name several",
        )
    if not tenants and about.share is not None:
        raise InvalidInput(
            f"`--share {about.share}` is about a tenant's rows, and no tenant is named",
            hint="name whose they are: --tenant NAME",
        )
    if not shares:
        return replace(about, parents=(*about.parents, *parents))
    (tenant,) = tenants
    least = next(share for share in SHARES if share == shares[tenant])
    if about.share is not None and strictest(about.share, least) != about.share:
        raise Refused(
            f"`--share {about.share}` is more than `{tenant}` allows: {held[0]}, share {least}",
            hint="leave `--share` out; only its owner can add rows that are shared with more",
        )
    share = about.share or least
    return replace(about, tenant=tenant, share=share, parents=(*about.parents, *parents))


def _read_from(datasets: Datasets, splits: Mapping[Split, Sequence[Row]]) -> Iterator[Dataset]:
    """The datasets that rows were read from: each row says where it came from (`load.py`)."""
    labels = dict.fromkeys(row.meta.get("source") for rows in splits.values() for row in rows)
    for label in labels:
        if not isinstance(label, str) or not label.startswith(DATASET):
            continue
        with suppress(InvalidInput, NotFound):  # a column of that name
            source = parse_source(label)
            if isinstance(source, DatasetSource):
                yield datasets.get(source.name, source.selector)


def sealed_in(
    registry: Registry, train: Sequence[Row], name: str, seal: bytes | None = None
) -> list[Match]:
    """The training rows that are in a sealed test set, or in the one that comes with them."""
    own = () if seal is None else (read_seal(seal, f"{name}, its own test rows"),)
    return sealed_rows(train, (*own, *sealed_here(registry)), THRESHOLD)


def erased_in(registry: Registry, splits: Rows) -> list[tuple[Split, int, ErasedRow]]:
    """The rows that were erased here: split, 0-based index, and when and why."""
    erased = erased_here(registry)
    return [
        (split, index, row)
        for split in SPLITS
        for index, row in erased_among(splits.get(split, ()), erased)
    ]


def _refusal_of_erased(
    name: str, rows: Rows, found: Sequence[tuple[Split, int, ErasedRow]]
) -> Refused:
    count = "1 row" if len(found) == 1 else f"{len(found)} rows"
    lines = [
        f"{count} of `{name}` {'was' if len(found) == 1 else 'were'} erased from this registry"
    ]
    lines += [
        f"  {split} row {_number(rows[split][index], index)}: {row}"
        for split, index, row in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        others = ", ".join(
            f"{split} {_number(rows[split][index], index)}" for split, index, _ in found[_SHOWN:]
        )
        lines.append(f"  and {others}")
    return Refused(
        "\n".join(lines),
        hint="what was erased does not come back: take it out of the file, or let it be: "
        "--drop-sealed leaves it out",
    )


def _refusal(name: str, train: Sequence[Row], found: Sequence[Match]) -> Refused:
    rows = "1 training row" if len(found) == 1 else f"{len(found)} training rows"
    lines = [f"{rows} of `{name}` were ever test rows, which may never be trained on"]
    lines += [
        f"  row {_number(train[match.index], match.index)}: {match}: {train[match.index].excerpt()}"
        for match in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        numbers = ", ".join(str(_number(train[m.index], m.index)) for m in found[_SHOWN:])
        lines.append(f"  and rows {numbers}")
    return Refused(
        "\n".join(lines), hint="take them out, or let them be: --drop-sealed leaves them out"
    )


def _number(row: Row, index: int) -> int:
    return row.number or index + 1
