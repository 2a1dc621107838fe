"""Moves adapters to a new base: build on it, judge against today's release, promote what survives.

The release that answers today (`prod`; else what `publish.alias` names; else the newest) and the
new one are compared on the same test rows, paired: the new one survives if, at the confidence of
the manifest's gates, it loses no more than a margin. Both answered those rows when they were built,
so that no model is asked again where the recorded answers are to the same questions.

Invariant: an alias moves only from the release that was compared with, and only after the
comparison; versions on the old base stay, for `adapters rollback`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from adapterworks.manifests.errors import Conflict, IntegrityError, InvalidInput, NotFound
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate, RetentionTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import of_record
from adapterworks.manifests.paths import told
from adapterworks.reconciling.reconciler import Outcome, Reconciler, attempt
from adapterworks.reconciling.world import Reader, failed_gates, one_line
from adapterworks.registry.bases.template import template_of
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.engines.choice import Engines
    from adapterworks.builders.evaluation.evaluate import Evaluation
    from adapterworks.builders.evaluation.metrics.metric import Prediction

PROD: Final = "prod"
_PREDICTIONS, _REPORT = "predictions.jsonl", "report.json"
# What decides how a row is asked; where these differ, recorded answers are to other questions.
_ASKING = ("max_new_tokens",)


@dataclass(frozen=True)
class Move:
    """One adapter that is to be moved.

    Attributes:
        today: the release that the new one is judged against.
        aliases: those that it holds and that move if the new one survives.
        manifest: its own, on the new base.
    """

    name: str
    today: Resolved
    aliases: tuple[str, ...]
    manifest: Manifest


@dataclass(frozen=True)
class Stays:
    """One adapter that is not moved, and why; `done` if that is because it is there already."""

    name: str
    ref: str
    why: str
    done: bool = False


def plan_rebase(
    reader: Reader, names: Sequence[str], base: str, *, manifests: Mapping[str, Manifest]
) -> list[Move | Stays]:
    """What is to be moved to a base, and what is not.

    Args:
        names: of the adapters.
        base: as a manifest names it.
        manifests: taken instead of those in the releases, by the adapter's name.

    Raises:
        NotFound: there is no such adapter, or no such base.
    """
    reader.bases.prepared(base)  # that there is one
    return [_move(reader, name, base, manifests.get(name)) for name in names]


def _move(reader: Reader, name: str, base: str, own: Manifest | None) -> Move | Stays:
    try:
        return _planned(reader, name, base, own)
    except (NotFound, IntegrityError) as error:  # its data is not here, or has changed
        if not reader.registry.versions(name, limit=1):
            raise
        why = f"{one_line(error)}; `--manifests DIR` takes the manifest from a folder"
        return Stays(name, name, why)


def _planned(reader: Reader, name: str, base: str, own: Manifest | None) -> Move | Stays:
    today = _today(reader, name, own)
    release = reader.registry.release(today.digest)
    ref = f"{name}@{today.version}"
    manifest = own or _manifest(reader, ref, release)
    if manifest is None:
        return Stays(name, ref, "it was not built from a manifest that this version can read")
    table = manifest.base.model_copy(update={"model": base})
    target = reader.bases.prepared(
        base,
        quantization=table.quantization,
        double_quantization=table.double_quantization,
        template=template_of(manifest),
    )
    if target is not None and target.digest == release.base.digest:
        return Stays(name, ref, f"is on `{base}` already", done=True)
    holders = {}
    for alias in dict.fromkeys((PROD, manifest.publish.alias)):
        if alias is not None:
            holders[alias] = _holder(reader, name, alias)
    aliases = tuple(
        alias
        for alias, held in holders.items()
        if held == today.version or (held is None and alias != PROD)
    )
    return Move(name, today, aliases, manifest.model_copy(update={"base": table}))


def _today(reader: Reader, name: str, own: Manifest | None) -> Resolved:
    alias = own.publish.alias if own else "candidate"
    held = (alias and _holder(reader, name, alias) for alias in (PROD, alias))
    version = next((version for version in held if version), None)
    if version is None:
        newest = reader.registry.versions(name, limit=1)
        if not newest:
            raise NotFound(f"`{name}` has no live version", hint=f"adapters list {name}")
        version = newest[0].version
    return reader.registry.resolve(f"{name}@{version}")


def _holder(reader: Reader, name: str, alias: str) -> int | None:
    try:
        return reader.registry.weights(name, alias)[0].version
    except NotFound:
        return None


def _manifest(reader: Reader, ref: str, release: Release) -> Manifest | None:
    """A release's own manifest, with its files where they are on this machine."""
    from adapterworks.builders.data.places import located

    if release.manifest is None:
        return None
    try:
        manifest = of_record(release.manifest)
    except ValidationError:
        return None
    here = reader.files(release)
    lock = json.loads(reader.registry.read(release.digest, LOCK)) if LOCK in here else {}
    return located(manifest, lock, what=ref, cache=reader.cache)


def rebase(
    reconciler: Reconciler, planned: Sequence[Move | Stays], *, base: str, margin: float
) -> Iterator[Outcome]:
    """Build, judge and promote one adapter after the other; none keeps others from their turn.

    Args:
        reconciler: its `build` must move no alias.
        planned: of `plan_rebase`.
        base: for the log.
        margin: what the new release may lose, in each metric's own unit.
    """
    for item in planned:
        if isinstance(item, Stays):
            yield Outcome(item.name, "as it was", item.why, item.ref, 0 if item.done else 1)
        else:
            yield attempt(item.name, partial(_rebase, reconciler, item, base, margin))


def _rebase(reconciler: Reconciler, move: Move, base: str, margin: float) -> Outcome:
    registry, name = reconciler.reader.registry, move.name
    today = f"{name}@{move.today.version}"
    result = reconciler.build(name, move.manifest)
    failed = failed_gates(result.report)
    if failed:
        return _kept(move, result.ref, failed)
    judged = judge(
        reconciler.reader, reconciler.engines, registry.resolve(result.ref), move, margin
    )
    lines = tuple(gate.why.replace("gain over prod", f"gain over {today}") for gate in judged.gates)
    if not judged.passed:
        return _kept(
            move,
            result.ref,
            [line for line, gate in zip(lines, judged.gates, strict=True) if not gate.passed],
        )
    version = int(result.ref.rpartition("@")[2])
    for alias in move.aliases:
        held = _holder(reconciler.reader, name, alias)
        if held not in (None, move.today.version):
            raise Conflict(
                f"`{name}:{alias}` was moved to @{held} meanwhile",
                hint=f"see who: adapters log {name}:{alias}",
            )
        registry.promote(
            name, version, alias, who=reconciler.who, why=f"rebased on {told(base)}", expect=held
        )
    moved = ", ".join(f"`{alias}`" for alias in move.aliases)
    moves = [f"{moved}: {today} → @{version}"] if moved else []
    outcome = Outcome(name, "rebased", "; ".join([*moves, *lines]), result.ref)
    return reconciler.served(outcome, move.manifest)


def _kept(move: Move, ref: str, why: Sequence[str]) -> Outcome:
    aliases = ", ".join(f"`{alias}`" for alias in move.aliases) or "what answers"
    kept = f"{aliases} stays {move.name}@{move.today.version}: "
    return Outcome(move.name, "did not survive", kept + "; ".join(why), ref, code=1)


def judge(reader: Reader, engines: Engines, new: Resolved, move: Move, margin: float) -> Evaluation:
    """The new release against today's on the same test rows.

    Raises:
        InvalidInput: there are no test rows to judge on.
    """
    from adapterworks.builders.data.assemble import rows_to_evaluate
    from adapterworks.builders.evaluation.comparison import CANDIDATE
    from adapterworks.builders.evaluation.evaluate import evaluate, evaluate_subjects
    from adapterworks.builders.evaluation.subjects import find_subject

    manifest = move.manifest
    candidate = find_subject(reader.registry, reader.bases, str(new))
    rows = rows_to_evaluate(
        manifest, base=candidate.base.model.folder, cache=reader.cache, registry=reader.registry
    ).test
    if not rows:
        raise InvalidInput(
            f"`{move.name}` has no test rows to be judged on",
            hint="set `data.test` in its manifest, and name its folder with `--manifests`",
        )
    table = judged_by(manifest.evaluate, margin)
    answered = {
        subject: _answers(reader, resolved, table, rows)
        for subject, resolved in ((PROD, move.today), (CANDIDATE, new))
    }
    recorded = {subject: given for subject, given in answered.items() if given is not None}
    if len(recorded) == len(answered):
        return evaluate(rows, recorded, table, seed=manifest.train.seed)
    subjects = {
        PROD: find_subject(reader.registry, reader.bases, str(move.today)).subject,
        CANDIDATE: candidate.subject,
    }
    return evaluate_subjects(
        subjects,
        rows,
        table,
        engines=engines,
        seed=manifest.train.seed,
        max_length=manifest.train.max_length,
    )


def judged_by(table: EvaluateTable, margin: float) -> EvaluateTable:
    """The manifest's own gates, turned against today's release; its first metric, if it has none.

    Args:
        margin: what may be lost, in each metric's own unit.
    """
    confidence = {gate.metric: gate.confidence for gate in table.gates}
    if not confidence:
        confidence = {table.metrics[0]: QualityGate(metric=table.metrics[0]).confidence}
    gates = tuple(
        QualityGate(metric=metric, against=PROD, min_gain=-margin, confidence=level)
        for metric, level in confidence.items()
    )
    update = {"metrics": tuple(confidence), "gates": gates, "retention": RetentionTable()}
    return table.model_copy(update={**update, "baseline": "none"})


def _answers(
    reader: Reader, resolved: Resolved, table: EvaluateTable, rows: Sequence[Row]
) -> list[Prediction] | None:
    """What a release answered to these very rows when it was built; None if it is not recorded."""
    from adapterworks.builders.data.rows import rows_digest
    from adapterworks.builders.evaluation.comparison import CANDIDATE
    from adapterworks.builders.evaluation.metrics import metric
    from adapterworks.builders.evaluation.metrics.metric import ANSWERS, Prediction

    release = reader.registry.release(resolved.digest)
    if not {_PREDICTIONS, _REPORT} <= reader.files(release):
        return None
    asked = release.declared("evaluate")
    now = table.model_dump(mode="json")
    if any(asked.get(key) != now[key] for key in _ASKING):
        return None
    if any(metric(name).needs != ANSWERS for name in table.metrics):
        return None
    report = json.loads(reader.registry.read(resolved.digest, _REPORT))
    if report.get("rows_digest") != rows_digest(rows):
        return None
    text = reader.registry.read(resolved.digest, _PREDICTIONS).decode("utf-8")
    lines = [json.loads(line) for line in text.split("\n") if line]
    return [Prediction(line["answers"][CANDIDATE], 0.0, 0) for line in lines]
