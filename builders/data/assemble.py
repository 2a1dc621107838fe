"""All rows of a manifest, ready to be encoded: gather → gates → mix → augment → replay.

Invariant: gates see each row that may be trained on once, as its source has it, before sampling
makes copies; copies made here are in the training split only. What is replayed is judged by itself
(`replayed.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.ancestry import Known
from adapterworks.builders.data.augment import augment
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.run import (
    GATES,
    GateResults,
    Progress,
    gates_of,
    judge,
    run_gates,
)
from adapterworks.builders.data.gather import PART, gather
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.many import at, joined
from adapterworks.builders.data.mix import choose, replay, sample
from adapterworks.builders.data.replayed import Earlier, learnt_before, replayed
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.wording import alike
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.registry import Registry


@dataclass(frozen=True)
class Assembled:
    """The rows to train and evaluate on, and what the gates said.

    Attributes:
        notes: what could not be looked at, for people.
    """

    splits: Splits
    gates: GateResults
    notes: tuple[str, ...] = ()


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
    earlier = _earlier(registry, cache, tokenizer, as_of, known)
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
    gathered: Splits | None = None,
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
        gathered: its rows as `gather` gives them, if somebody has read them.
        cache: folder for derived rows.
        tokenizer: the base's; without it truncated answers are not looked for.
        progress: told which gate looks at the rows.
        registry: where datasets and sealed test sets are.
        as_of: by the seals of another time, for a release that is there.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_rows`.
        Refused: a data gate whose action is `fail` found rows.
    """
    if gathered is None:
        gathered = gather(manifest, cache=cache, registry=registry)
    earlier = _earlier(registry, cache, tokenizer, as_of)
    learnt, notes = learnt_before(gathered, manifest, earlier) if as_of == NOW else ((), ())
    results = run_gates(
        gathered, manifest, tokenizer, progress, registry, as_of=as_of, earlier=learnt
    )
    return Assembled(_complete(results, manifest, earlier), results, notes)


def _earlier(
    registry: Registry | None,
    cache: Path | None,
    tokenizer: PreTrainedTokenizerBase | None,
    as_of: AsOf = NOW,
    known: Known | None = None,
) -> Earlier:
    """The builds before this one: their rows are derived as its own are."""

    def derive(manifest: Manifest, as_of: AsOf, known: Known) -> Splits:
        return rows_of_build(
            manifest,
            cache=cache,
            tokenizer=tokenizer,
            registry=registry,
            as_of=as_of,
            known=known,
        )

    return Earlier(registry, derive, cache, as_of, known or Known())


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
    learnt = _earlier(registry, cache, tokenizer).learnt(registry, manifest.start.ref, ()).rows
    return choose(learnt, min(anchor.rows, len(learnt)), manifest.train.seed)


def _complete(results: GateResults, manifest: Manifest, earlier: Earlier) -> Splits:
    """The kept rows, sampled, augmented and with replay."""
    data, seed = manifest.data, manifest.train.seed
    kept = results.splits.train
    train = kept
    if data.mix:
        whose = [row.meta.get(PART) for row in kept]
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
        again = replayed(data.replay, manifest, results.splits.test, earlier)
        train = joined(train, replay(train, again.rows, data.replay.share, seed))
        datasheets = (*datasheets, again.datasheet)
    return replace(results.splits, train=train, datasheets=datasheets)
