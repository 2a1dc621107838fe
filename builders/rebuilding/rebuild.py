"""A release built again from its own manifest and lock, to see how far the result is from it.

Invariant: nothing is published and no alias moves; base and rows are those the lock names, or
nothing is trained. What else differs from the lock is said before the training begins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.prepare import prepare
from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.building.stages import candidates, convert_stage, train_stage
from adapterworks.builders.data.ancestry import judged_then
from adapterworks.builders.data.places import located
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate_subjects
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import environment, make_lock
from adapterworks.builders.rebuilding.as_built import manifest_of, with_base
from adapterworks.builders.rebuilding.same import require_same_base, require_same_rows
from adapterworks.builders.rebuilding.weights import Distance, distance
from adapterworks.builders.training.events import EventLog, Listener
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import RetentionTable, SafetyTable
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.reading.diff import LOCK, Change, changes, flatten
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release, Servable
from adapterworks.registry.releases.scratch import kept_folder
from adapterworks.registry.releases.types import Resolved

# Entries of the lock that can differ between two builds of one manifest on one base and its rows.
_SURROUNDINGS = (
    "code",
    "packages",
    "extensions",
    "python",
    "device",
    "precision",
    "micro_batch",
    "evaluate_every",
    "encoded",
    "semantics",
)


@dataclass(frozen=True, slots=True)
class Score:
    """One metric on the test rows, in its own unit."""

    released: float
    rebuilt: float

    @property
    def difference(self) -> float:
        """Rebuilt minus released."""
        return self.rebuilt - self.released


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to.

    Attributes:
        ref: `NAME@VERSION`.
        differences: from the lock (`packages.torch`, `device`, …), which can explain a distance.
        weights: of the method's own adapter, or of a full fine-tuning's checkpoint.
        scores: by metric.
        rows: test rows that were answered again.
        changed: of them, those with another answer; None if the released answers are not here.
        seconds: that the training took.
    """

    ref: str
    digest: str
    differences: tuple[Change, ...]
    weights: Distance
    scores: dict[str, Score]
    rows: int
    changed: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = asdict(self)
        for name, score in self.scores.items():
            values["scores"][name]["difference"] = score.difference
        return values


def rebuild(
    ref: str,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    data_dir: Path | None = None,
    own: Manifest | None = None,
    engines: Engines | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[str], None] | None = None,
) -> Rebuilt:
    """Build a release again, in a folder of its own that is removed afterwards.

    Args:
        ref: of the release.
        registry: where it is; nothing is written there.
        bases: where base models are.
        home: `tmp/` and `cache/` are made under it.
        data_dir: where the manifest's relative paths begin, if its files are not known here.
        own: the manifest file of the user's that the release was built from: needed where it names
            code in a file beside it, and read for nothing else.
        engines: who answers the test rows; the reference implementation alone, if not given.
        listeners: receive the build's events.
        progress: told what differs from the lock before the training begins.

    Raises:
        InvalidInput: it was not built from a manifest, or with what is not installed here.
        IntegrityError: base, a data file or rows are not those of the lock.
        NotFound: a data file or the base is not here.
        Refused, Unavailable: as `run_build`; the folder is kept then, for its log.
    """
    resolved = registry.resolve(ref)
    title = f"{resolved.name}@{resolved.version}"
    release = registry.release(resolved.digest)
    if release.manifest is None or release.plan is None or LOCK not in release.files:
        raise InvalidInput(
            f"`{title}` was not built from a manifest",
            hint="only what `adapters build` published can be built again",
        )
    lock = json.loads(registry.read(resolved.digest, LOCK))
    manifest = located(
        with_base(manifest_of(release, lock, title, own), release, bases, data_dir),
        lock,
        what=title,
        cache=home / "cache",
        folder=data_dir,
    )
    again = partial(
        prepare, manifest, bases, registry=registry, cache=home / "cache", progress=progress
    )
    prepared = _prepared_then(release, lock, manifest, again)
    here = make_lock(prepared.plan, prepared.sources, environment().python)
    require_same_base(title, lock, here)
    require_same_rows(title, lock, here)
    differences = changes(
        _surroundings(_with_evaluations(lock, prepared.plan)), _surroundings(here)
    )
    if progress:
        for difference in differences:
            progress(sentence(difference))

    with kept_folder(home / "tmp", "rebuild") as folder:
        with build_lock(folder) as held:
            events = EventLog(folder / "events.jsonl", *listeners)
            training = train_stage(prepared, folder, held, events, engines)
            evaluation = _evaluate(prepared, folder, engines or Engines(), events)
        trained = registry.checkout(resolved.digest, release.trained)
        return Rebuilt(
            ref=title,
            digest=resolved.digest,
            differences=differences,
            weights=distance(trained, folder / "train" / "adapter"),
            scores=_scores(release.metrics, evaluation),
            rows=len(prepared.rows["test"]),
            changed=_changed(registry, resolved, release, evaluation),
            seconds=training["seconds"],
        )


def sentence(change: Change) -> str:
    """A difference from the lock in words."""
    was = "not recorded" if change.before is None else f"`{change.before}`"
    now = "missing" if change.after is None else f"`{change.after}`"
    return f"differs from the lock: {change.key} was {was}, is {now}"


def _with_evaluations(lock: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The lock with how often its training was evaluated, which says among which steps the best was
    chosen. Versions that do not record it rounded down, and so had an evaluation or more too many.
    """
    before = max(1, plan.steps // plan.manifest.train.evaluations)
    return {"evaluate_every": before, **lock}


def _surroundings(lock: Mapping[str, Any]) -> dict[str, Any]:
    return flatten({name: lock[name] for name in _SURROUNDINGS if name in lock})


def _prepared_then(
    release: Release,
    lock: Mapping[str, Any],
    manifest: Manifest,
    prepared_as: Callable[..., Prepared],
) -> Prepared:
    """Prepared by what was sealed when it was built: what was sealed since then was learnt then.

    Raises:
        Refused: its rows are refused, whenever they are judged.
    """
    last: Prepared | None = None
    refused: Refused | None = None
    for as_of in judged_then(manifest, release):
        try:
            last = prepared_as(as_of=as_of)
        except Refused as error:
            refused = error
            continue
        if last.plan.data_digests == lock["data"]["splits"]:
            return last
    if last is None and refused is not None:
        raise refused
    assert last is not None
    return last  # other rows: the caller says which


def _evaluate(
    prepared: Prepared, folder: Path, engines: Engines, events: EventLog
) -> Evaluation | None:
    """The rebuilt candidate alone on the test rows; the base has not changed."""
    conversion = convert_stage(prepared, folder)
    servable = Servable(**conversion["servable"]) if conversion["servable"] else None
    manifest, rows = prepared.plan.manifest, prepared.rows["test"]
    if not rows:
        return None
    alone = {
        "gates": (),
        "retention": RetentionTable(),
        "safety": SafetyTable(),
        "judge": None,
        "baseline": "none",
    }
    return evaluate_subjects(
        {CANDIDATE: candidates(prepared, folder, servable)[CANDIDATE]},
        rows,
        manifest.evaluate.model_copy(update=alone),
        engines=engines,
        seed=manifest.train.seed,
        max_length=manifest.train.max_length,
        progress=partial(_say, events),
    )


def _say(events: EventLog, subject: str, done: int, total: int) -> None:
    events.emit("evaluate", subject=subject, done=done, total=total)


def _scores(released: Mapping[str, float], evaluation: Evaluation | None) -> dict[str, Score]:
    rebuilt = evaluation.values() if evaluation else {}
    return {name: Score(released[name], rebuilt[name]) for name in released if name in rebuilt}


def _changed(
    registry: Registry, resolved: Resolved, release: Release, evaluation: Evaluation | None
) -> int | None:
    data = registry.read_if_here(resolved.digest, "predictions.jsonl")
    if data is None:
        return 0 if "predictions.jsonl" not in release.files else None
    if evaluation is None:
        return 0
    released = [json.loads(line) for line in data.decode("utf-8").split("\n") if line]
    return sum(
        old["answers"][CANDIDATE] != new["answers"][CANDIDATE]
        for old, new in zip(released, evaluation.predictions, strict=True)
    )
