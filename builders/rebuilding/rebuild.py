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
from adapterworks.builders.building.prepare import Prepared, prepare
from adapterworks.builders.building.stages import candidates, convert_stage, train_stage
from adapterworks.builders.data.ancestry import judged_then
from adapterworks.builders.data.places import located
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate_subjects
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import environment, make_lock
from adapterworks.builders.rebuilding.weights import Distance, distance
from adapterworks.builders.training.events import EventLog, Listener
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.manifests.evaluate_tables import RetentionTable, SafetyTable
from adapterworks.manifests.models import Manifest, StartTable
from adapterworks.manifests.naming import manifest_of_release
from adapterworks.manifests.paths import place
from adapterworks.manifests.sources import FileSource, parse_base
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
    release = registry.release(resolved.digest)
    if release.manifest is None or release.plan is None or LOCK not in release.files:
        raise InvalidInput(
            f"`{_title(resolved)}` was not built from a manifest",
            hint="only what `adapters build` published can be built again",
        )
    lock = json.loads(registry.read(resolved.digest, LOCK))
    manifest = located(
        _with_base(_manifest(release, lock, _title(resolved), own), release, bases, data_dir),
        lock,
        what=_title(resolved),
        cache=home / "cache",
        folder=data_dir,
    )
    again = partial(
        prepare, manifest, bases, registry=registry, cache=home / "cache", progress=progress
    )
    prepared = _prepared_then(release, lock, manifest, again)
    here = make_lock(prepared.plan, prepared.sources, environment().python)
    _require_same_base(resolved, lock, here)
    _require_same_rows(resolved, lock, here)
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
            ref=_title(resolved),
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


def _title(resolved: Resolved) -> str:
    return f"{resolved.name}@{resolved.version}"


def _manifest(
    release: Release, lock: Mapping[str, Any], title: str, own: Manifest | None
) -> Manifest:
    """The release's manifest with the micro batch it was trained with, which orders the sums, and
    with as many answers generated together."""
    digests = {pin["name"]: pin["digest"] for pin in lock.get("extensions", ())}
    manifest = manifest_of_release(release.manifest or {}, title, own=own, digests=digests)
    train = {"trackers": (), "tracking": (), "micro_batch_size": lock.get("micro_batch")}
    if train["micro_batch_size"] is None:
        train["micro_batch_size"] = manifest.train.micro_batch_size
    changed: dict[str, Any] = {"train": manifest.train.model_copy(update=train)}
    if generated := lock.get("generation_batch"):
        kept = {"generation_batch_size": generated}
        changed["objective"] = manifest.objective.model_copy(update=kept)
    return _with_origins(manifest.model_copy(update=changed), release)


def _with_origins(manifest: Manifest, release: Release) -> Manifest:
    """The releases that it began from and was held near, by their digests: an alias may have moved
    and a name mean something else since."""
    exact = {
        parent.relation: f"{(parent.ref or '').partition('@')[0]}@{parent.digest}"
        for parent in release.parents
        if parent.digest is not None and parent.ref is not None
    }
    changed: dict[str, Any] = {}
    begun = exact.get("start", exact.get("stage"))
    if manifest.start is not None and begun is not None:
        changed["start"] = StartTable.model_validate({"from": begun})
    named = {"reference": "reference", "reward": "reward_release", "teacher": "teacher"}
    held = {key: exact[relation] for relation, key in named.items() if relation in exact}
    if held:
        changed["objective"] = manifest.objective.model_copy(update=held)
    return manifest.model_copy(update=changed)


def _with_base(
    manifest: Manifest, release: Release, bases: BaseStore, data_dir: Path | None
) -> Manifest:
    """The manifest with the place of a base that was a folder: known by its digest, or said."""
    model = manifest.base.model
    folder = isinstance(parse_base(model), FileSource) or model == release.base.model
    if not folder or model.startswith("hub:"):
        return manifest
    known = bases.find(release.base.digest)
    if known is not None and Path(known.model).is_dir():
        model = known.model
    elif data_dir is not None and place(model, data_dir).is_dir():
        model = str(place(model, data_dir))
    elif known is None and model not in {source.name for source in bases.sources()}:
        raise NotFound(
            f"`{release.name}` was built on a base in the folder `{model}`, and where that is on "
            "this machine is not known",
            hint=f"name the folder it is in with `--data-dir`, or the base: adapters base add "
            f"{release.base.model} FOLDER",
        )
    return manifest.model_copy(update={"base": manifest.base.model_copy(update={"model": model})})


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


def _require_same_base(resolved: Resolved, lock: Mapping[str, Any], here: Any) -> None:
    before, after = lock["base"]["digest"], here["base"]["digest"]
    if before != after:
        raise IntegrityError(
            f"`{_title(resolved)}` was built on base {before}, but `{lock['base']['model']}` here "
            f"is {after}",
            hint="fetch the base at the revision that `adapters show` prints",
        )


def _require_same_rows(resolved: Resolved, lock: Mapping[str, Any], here: Any) -> None:
    before, after = lock["data"]["splits"], here["data"]["splits"]
    changed = [name for name in before if before[name] != after.get(name)]
    if not changed:
        return
    files = changes(*(_files(entries["data"]["sources"]) for entries in (lock, here)))
    raise IntegrityError(
        f"the {' and '.join(changed)} rows are not those that `{_title(resolved)}` was built from",
        hint="; ".join(
            f"`{c.key}` was {c.before or 'absent'}, is {c.after or 'absent'}" for c in files
        )
        or "every file has the bytes it had: the code that makes rows of them has changed "
        f"(adapterworks {lock['code']['version']} built it)",
    )


def _files(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {name: digest for source in sources for name, digest in source["files"].items()}


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
