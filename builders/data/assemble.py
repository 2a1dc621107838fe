"""All rows of a manifest, ready to be encoded: load → gates → mix → augment → replay.

Invariants:
- gates see each row that may be trained on once, as its source has it, before sampling makes
  copies; copies made here are in the training split only;
- replayed rows are general text of another kind and are judged by one gate alone, which judges
  whatever is trained on: what was ever a test row, or is one of the build itself, is not replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.ancestry import Known, learnt_by_lineage
from adapterworks.builders.data.augment import augment
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.erased import erased_among, erased_here
from adapterworks.builders.data.gates.run import (
    GATES,
    GateResults,
    Progress,
    gates_of,
    judge,
    run_gates,
)
from adapterworks.builders.data.gates.seals import (
    THRESHOLD,
    Match,
    seal_of,
    sealed_here,
    sealed_rows,
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
from adapterworks.builders.data.steps import with_separator
from adapterworks.builders.data.wording import alike
from adapterworks.manifests.data_tables import MixTable, ReplayTable
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import LINEAGE
from adapterworks.registry.datasets.erased import ErasedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.registry import Registry

_SHOWN = 5
_PART = "mix"  # meta key while gates run: position of the row's source in `data.mix`


@dataclass(frozen=True)
class Assembled:
    """The rows to train and evaluate on, and what the gates said.

    Attributes:
        notes: what could not be looked at, for people.
    """

    splits: Splits
    gates: GateResults
    notes: tuple[str, ...] = ()


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
    manifest: Manifest,
    *,
    base: Path,
    cache: Path | None = None,
    registry: Registry | None = None,
) -> Splits:
    """The rows that a build scores, and those it trained on: without what a `drop` gate names.

    Gates whose action is `fail` or `warn` are about what is trained on, and do not stop an
    evaluation.

    Args:
        base: the checkpoint that was trained on; its tokenizer is loaded where it decides which
            rows there are, as it did for the build.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    tokenizer = None
    if needs_tokenizer(manifest):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
    return judge(gathered, _only_dropping(manifest), tokenizer, registry=registry).splits


def rows_of_build(
    manifest: Manifest,
    *,
    cache: Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    registry: Registry | None = None,
    as_of: AsOf = NOW,
    known: Known | None = None,
) -> Splits:
    """The rows that a build trains and evaluates on, without asking whether it would be refused.

    Equal to the splits of `assemble`, in a fraction of its time: gates that drop nothing are left
    out.

    Args:
        tokenizer: the base's; asked for by `needs_tokenizer` only.
        registry: where datasets and sealed test sets are.
        as_of: by the seals of another time.
        known: of ancestors, what was derived already.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    dropping = _only_dropping(manifest)
    results = judge(gathered, dropping, tokenizer, registry=registry, as_of=as_of)
    earlier = _Earlier(registry, cache, tokenizer, as_of, known or Known())
    return _complete(results, dropping, earlier)


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
    as_of: AsOf = NOW,
) -> Assembled:
    """Load, judge, mix, augment and add replay.

    Args:
        manifest: resolved.
        cache: folder for derived rows.
        tokenizer: the base's; without it truncated answers are not looked for.
        progress: told which gate looks at the rows.
        registry: where datasets and sealed test sets are.
        as_of: by the seals of another time, for a release that is there.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
        Refused: a data gate whose action is `fail` found rows.
    """
    gathered = gather(manifest, cache=cache, registry=registry)
    earlier = _Earlier(registry, cache, tokenizer, as_of)
    learnt, notes = _learnt_before(gathered, manifest, earlier) if as_of == NOW else ((), ())
    results = run_gates(
        gathered, manifest, tokenizer, progress, registry, as_of=as_of, earlier=learnt
    )
    return Assembled(_complete(results, manifest, earlier), results, notes)


@dataclass(frozen=True)
class _Earlier:
    """What ancestors' rows are derived with, and when what is replayed is judged."""

    registry: Registry | None
    cache: Path | None
    tokenizer: PreTrainedTokenizerBase | None
    as_of: AsOf = NOW
    known: Known = field(default_factory=Known)

    def derive(self, manifest: Manifest, as_of: AsOf, known: Known) -> Splits:
        """The rows of another build."""
        return rows_of_build(
            manifest,
            cache=self.cache,
            tokenizer=self.tokenizer,
            registry=self.registry,
            as_of=as_of,
            known=known,
        )

    def learnt(self, registry: Registry, start: str, tests: Sequence[Row]) -> Loaded:
        """What a release and its ancestors learnt, but for what was sealed and these test rows."""
        return learnt_by_lineage(
            registry,
            start,
            self.derive,
            cache=self.cache,
            as_of=self.as_of,
            tests=tests,
            known=self.known,
        )


def _learnt_before(
    splits: Splits, manifest: Manifest, earlier: _Earlier
) -> tuple[Sequence[Row], tuple[str, ...]]:
    """What the ancestors learnt, as far as it can be derived here: a test of it proves nothing."""
    if earlier.registry is None or manifest.start is None or not splits.test:
        return (), ()
    everything = replace(earlier, as_of=AsOf("", own=False))
    try:
        return everything.learnt(earlier.registry, manifest.start.ref, ()).rows, ()
    except AdapterworksError as error:
        why = error.message.splitlines()[0]
        return (), (f"the test rows are not held against what was learnt before: {why}",)


def _replayed(
    table: ReplayTable, manifest: Manifest, tests: Sequence[Row], earlier: _Earlier
) -> Loaded:
    """What is replayed: general rows, or what the ancestors learnt, but for what was sealed.

    Raises:
        Refused: general rows were ever test rows or were erased, and the manifest does not leave
            them out.
    """
    registry = earlier.registry
    if table.source == LINEAGE:
        if registry is None or manifest.start is None:
            raise InvalidInput("a lineage is in a registry", hint="read it with a registry")
        return earlier.learnt(registry, manifest.start.ref, tests)
    loaded = _load_part(table, manifest, earlier.cache, registry)
    rows, gate = loaded.rows, gates_of(manifest)["sealed"]
    found: list[Match] = []
    own: list[Match] = []
    erased: list[tuple[int, ErasedRow]] = []
    if registry is not None and gate.on:
        threshold = THRESHOLD if gate.threshold is None else gate.threshold
        seals = sealed_here(registry, beside=tests, as_of=earlier.as_of)
        found = sealed_rows(rows, seals, threshold)
        if found and gate.action == "fail":
            raise refused_replay(rows, found)
        erased = [*erased_among(rows, erased_here(registry, as_of=earlier.as_of))]
        if erased and gate.action == "fail":
            raise refused_erased(rows, erased)
    if earlier.as_of.own and tests:
        own = sealed_rows(rows, [seal_of(tests, "its own test rows")], THRESHOLD)
    tested = {match.index for match in (*found, *own)}
    went = {index for index, _ in erased} - tested
    if not tested and not went:
        return loaded
    free = at(rows, (index for index in range(len(rows)) if index not in tested | went))
    counts = {"were ever test rows": len(tested)} | ({"were erased": len(went)} if went else {})
    sheet = replace(loaded.datasheet, counts={**loaded.datasheet.counts, **counts})
    return Loaded(free, sheet)


def refused_erased(rows: Sequence[Row], found: Sequence[tuple[int, ErasedRow]]) -> Refused:
    """What is said of rows to be replayed that were erased."""
    lines = [f"{len(found)} rows of `data.replay` were erased from this registry"]
    lines += [f"  row {rows[index].number or index + 1}: {row}" for index, row in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return Refused(
        "\n".join(lines),
        hint='replay other rows, or leave these out: `data.gates.sealed.action = "drop"`',
    )


def refused_replay(rows: Sequence[Row], found: Sequence[Match]) -> Refused:
    """What is said of rows to be replayed that were ever test rows."""
    lines = [f"{len(found)} rows of `data.replay` were ever test rows, which may never be learnt"]
    for match in found[:_SHOWN]:
        row = rows[match.index]
        lines.append(f"  row {row.number or match.index + 1}: {match}: {row.excerpt()}")
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return Refused(
        "\n".join(lines),
        hint='replay other rows, or leave these out: `data.gates.sealed.action = "drop"`',
    )


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
    learnt = _Earlier(registry, cache, tokenizer).learnt(registry, manifest.start.ref, ()).rows
    return choose(learnt, min(anchor.rows, len(learnt)), manifest.train.seed)


def _complete(results: GateResults, manifest: Manifest, earlier: _Earlier) -> Splits:
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
        # Copies come after the gates: one that a test row asks would be a leak that none sees.
        apart = (results.splits.validation, results.splits.test)
        held = {alike(row.question) for rows in apart for row in rows if row.question}
        copies = augment(train, data.augment, seed, folder=manifest.folder, held=held)
        train = joined(train, copies)
    datasheets = results.splits.datasheets
    if data.replay is not None:
        again = _replayed(data.replay, manifest, results.splits.test, earlier)
        train = joined(train, replay(train, again.rows, data.replay.share, seed))
        datasheets = (*datasheets, again.datasheet)
    return replace(results.splits, train=train, datasheets=datasheets)
