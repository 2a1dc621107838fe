"""All rows of a manifest, ready to be encoded: load → gates → mix → augment → replay.

Invariant: gates see each row that may be trained on once, as its source has it, before sampling
makes copies; copies made here are in the training split only. Replayed rows are general text of
another kind and are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.ancestry import learnt_by_lineage
from adapterworks.builders.data.augment import augment
from adapterworks.builders.data.gates.run import (
    GATES,
    GateResults,
    Progress,
    gates_of,
    judge,
    run_gates,
)
from adapterworks.builders.data.load import (
    Loaded,
    Splits,
    load_rows,
    load_source,
    take,
    with_system,
)
from adapterworks.builders.data.many import at, joined, mapped
from adapterworks.builders.data.mix import choose, replay, sample
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.steps import SEPARATOR, with_separator
from adapterworks.manifests.data_tables import MixTable, ReplayTable
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import LINEAGE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.registry import Registry

_PART = "mix"  # meta key while gates run: position of the row's source in `data.mix`


@dataclass(frozen=True)
class Assembled:
    """The rows to train and evaluate on, and what the gates said."""

    splits: Splits
    gates: GateResults


def gather(
    manifest: Manifest, *, cache: Path | None = None, registry: Registry | None = None
) -> Splits:
    """The manifest's own rows with those of `data.mix` behind its training rows, unsampled.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    splits = load_rows(manifest, cache=cache, registry=registry)
    separator = getattr(manifest.objective, SEPARATOR, None)
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
        loaded = _load_part(part, manifest, cache, registry)
        rows = with_system(take(loaded.rows, part.limit), manifest.data.system)
        train.append(mapped(partial(_of_part, position), rows))
        datasheets.append(loaded.datasheet)
    return replace(splits, train=joined(*train), datasheets=tuple(datasheets))


def _of_part(position: int, row: Row) -> Row:
    return row.with_meta(**{_PART: position})


def _load_part(
    part: MixTable | ReplayTable,
    manifest: Manifest,
    cache: Path | None,
    registry: Registry | None,
) -> Loaded:
    """A further source of training rows; columns are renamed as those of `data.train` unless it
    has a format or columns of its own."""
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


def rows_to_evaluate(
    manifest: Manifest, *, cache: Path | None = None, registry: Registry | None = None
) -> Splits:
    """The rows that a build scores, and those it trained on: without what a `drop` gate names.

    Gates whose action is `fail` or `warn` are about what is trained on, and do not stop an
    evaluation.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    return judge(gathered, _only_dropping(manifest), registry=registry).splits


def rows_of_build(
    manifest: Manifest,
    *,
    cache: Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    registry: Registry | None = None,
) -> Splits:
    """The rows that a build trains and evaluates on, without asking whether it would be refused.

    Equal to the splits of `assemble`, in a fraction of its time: gates that drop nothing are left
    out.

    Args:
        tokenizer: the base's; asked for by `needs_tokenizer` only.
        registry: where datasets and sealed test sets are.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    results = judge(gathered, _only_dropping(manifest), tokenizer, registry=registry)
    return _complete(results, manifest, cache, registry, tokenizer)


def needs_tokenizer(manifest: Manifest) -> bool:
    """Whether the base's tokenizer decides which rows there are."""
    gates = gates_of(manifest).items()
    dropping = (name for name, gate in gates if gate.on and gate.action == "drop")
    return any(GATES.named(name).reads_tokens for name in dropping)


def _only_dropping(manifest: Manifest) -> Manifest:
    """The manifest with the gates that drop no rows turned off."""
    dropping = gates_of(manifest).only(lambda gate: gate.action == "drop")
    data = manifest.data.model_copy(update={"gates": dropping})
    train = manifest.train.model_copy(update={"on_overflow": "cut"})  # it is in the gates now
    return manifest.model_copy(update={"data": data, "train": train})


def assemble(
    manifest: Manifest,
    *,
    cache: Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> Assembled:
    """Load, judge, mix, augment and add replay.

    Args:
        manifest: resolved.
        cache: folder for derived rows.
        tokenizer: the base's; without it truncated answers are not looked for.
        progress: told which gate looks at the rows.
        registry: where datasets and sealed test sets are.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
        Refused: a data gate whose action is `fail` found rows.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    results = run_gates(gathered, manifest, tokenizer, progress, registry)
    return Assembled(_complete(results, manifest, cache, registry, tokenizer), results)


def _replayed(
    table: ReplayTable,
    manifest: Manifest,
    cache: Path | None,
    registry: Registry | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Loaded:
    """What is replayed: general rows, or what the ancestors learnt, but for what was sealed."""
    if table.source != LINEAGE:
        return _load_part(table, manifest, cache, registry)
    if registry is None or manifest.start is None:
        raise InvalidInput("a lineage is in a registry", hint="read it with a registry")
    again = partial(rows_of_build, cache=cache, tokenizer=tokenizer, registry=registry)
    return learnt_by_lineage(registry, manifest.start.ref, again, cache=cache)


def earlier_rows(
    manifest: Manifest,
    *,
    cache: Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    registry: Registry | None = None,
) -> Sequence[Row]:
    """The rows by which `train.anchor` knows what must not be forgotten: of those that the
    continued release and its ancestors have learnt, as many as it says; none without it.

    Raises:
        Refused, NotFound: as `learnt_by_lineage`.
        InvalidInput: they are not conversations or texts.
    """
    anchor = manifest.train.anchor
    if anchor is None or anchor.kind != "ewc":
        return ()
    if registry is None or manifest.start is None:
        raise InvalidInput("a lineage is in a registry", hint="read it with a registry")
    again = partial(rows_of_build, cache=cache, tokenizer=tokenizer, registry=registry)
    learnt = learnt_by_lineage(registry, manifest.start.ref, again, cache=cache).rows
    return choose(learnt, min(anchor.rows, len(learnt)), manifest.train.seed)


def _complete(
    results: GateResults,
    manifest: Manifest,
    cache: Path | None,
    registry: Registry | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Splits:
    """The kept rows, sampled, augmented and with replay."""
    data, seed = manifest.data, manifest.train.seed
    kept = results.splits.train
    train = kept
    if data.mix:
        whose = [row.meta.get(_PART) for row in kept]
        parts = [
            at(kept, (index for index, part in enumerate(whose) if part == position))
            for position in (None, *range(len(data.mix)))
        ]
        mixed = (
            sample(members, part.weight, seed)
            for members, part in zip(parts[1:], data.mix, strict=True)
        )
        train = joined(parts[0], *mixed)
    if data.augment.share:
        train = joined(train, augment(train, data.augment, seed, folder=manifest.folder))
    datasheets = results.splits.datasheets
    if data.replay is not None:
        earlier = _replayed(data.replay, manifest, cache, registry, tokenizer)
        train = joined(train, replay(train, earlier.rows, data.replay.share, seed))
        datasheets = (*datasheets, earlier.datasheet)
    return replace(results.splits, train=train, datasheets=datasheets)
