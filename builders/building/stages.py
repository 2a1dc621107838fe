"""The stages of a build, one function each: what `builders/building/run.py` runs once and records.

Invariant: a stage reads the prepared plan and what earlier stages left in the folder, and writes
only there; it knows neither the registry's index nor the record of the build.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.building.sampling import sampling
from adapterworks.builders.data.rows import to_record
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.engine import Adapter, Model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.comparison import CANDIDATE, NATIVE
from adapterworks.builders.evaluation.evaluate import BASE, Evaluation, evaluate_subjects
from adapterworks.builders.evaluation.subjects import (
    approximate,
    base_model,
    contents_digest,
    find_subject,
    folder_digest,
)
from adapterworks.builders.evaluation.tokenizers import require_one_tokenizer
from adapterworks.builders.evaluation.transfer import ancestor_tests
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.rewards.asking import KEPT, Judge, require_judge
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.job import run_job
from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.manifests.judging import JudgeTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import START
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Servable

PROD = "prod"
PREDICTIONS = "predictions.jsonl"
_KEPT_OF_EVALUATION = "judge-evaluation.jsonl"
_PROBED = 4096  # examples among which a fingerprint chooses


def train_stage(
    prepared: Prepared,
    folder: Path,
    lock: int,
    events: EventLog,
    engines: Engines | None = None,
    say: Callable[[str], None] | None = None,
    cards: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Encode the rows and run the training process.

    Args:
        engines: who samples, where the objective learns from an engine's answers.
        say: told how far an engine is that starts.
        cards: the GPUs that were reserved for it, as CUDA calls them.
    """
    from adapterworks.builders.training.batches import save_encoded

    plan = prepared.plan
    save_encoded(folder / "encoded.safetensors", prepared.encoded)
    if objective_of(plan.manifest).rollouts:
        splits = {
            split: [to_record(row) for row in prepared.rows[split]]
            for split in ("train", "validation")
        }
        text = json.dumps(splits, ensure_ascii=False)
        (folder / "rows.json").write_text(text, encoding="utf-8")
    technique = METHODS[plan.manifest.method.kind]
    _require_judges(plan.manifest, folder)
    with sampling(prepared, engines or Engines(), folder) as engine:
        job = replace(prepared.job(), engine=engine, cards=cards)
        run_job(job, folder, lock, events.pass_on)
    if technique.whole_model:
        # Its checkpoint is a model of its own, which is loaded and served with its tokenizer.
        prepared.tokenizer.save_pretrained(folder / "train" / "adapter")
    result: dict[str, Any] = json.loads((folder / "train" / "result.json").read_text())
    return result


def _require_judges(manifest: Manifest, folder: Path) -> None:
    """Refuse judges that do not answer."""
    rewarding: JudgeTable | None = getattr(manifest.objective, "judge", None)
    for table, kept in ((rewarding, KEPT), (manifest.evaluate.judge, _KEPT_OF_EVALUATION)):
        if table is not None:
            require_judge(table, folder / kept, os.environ)


def convert_stage(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Write the servable form; refuse one that loses more than the manifest allows."""
    manifest = prepared.plan.manifest
    source = Source(folder / "train" / "adapter", prepared.base.served, prepared.shape, manifest)
    shutil.rmtree(folder / "servable", ignore_errors=True)
    try:
        conversion = METHODS[manifest.method.kind].convert(source, folder / "servable")
    except Refused as error:
        return {"servable": None, "refused": error.message, "modules": {}, "left_out": {}}
    servable, limit = conversion.servable, manifest.serve.max_conversion_error
    result: dict[str, Any] = {
        "servable": servable.model_dump(mode="json"),
        "refused": None,
        "modules": conversion.modules,
        "left_out": conversion.left_out,
        "error": servable.error,
    }
    if servable.error > limit:
        result["servable"] = None
        result["refused"] = (
            f"conversion: as LoRA of rank {servable.rank} it loses {servable.error:.2f} of the "
            f"weight delta, more than `serve.max_conversion_error` {limit:g}"
        )
    return result


def evaluate_stage(
    prepared: Prepared,
    folder: Path,
    servable: Servable | None,
    registry: Registry,
    bases: BaseStore,
    engines: Engines,
    events: EventLog,
    say: Callable[[str], None] | None = None,
    cache: Path = Path(),
) -> dict[str, Any]:
    """Base, `prod` and candidate on the test rows; the candidate is what will be served."""
    manifest = prepared.plan.manifest
    rows = prepared.rows["test"]
    if not rows:
        (folder / PREDICTIONS).unlink(missing_ok=True)
        return {"report": {"schema_version": 1, "rows": 0}, "values": {}, "prod": None}

    def progress(subject: str, done: int, total: int) -> None:
        events.emit("evaluate", subject=subject, done=done, total=total)

    prod = prod_digest(manifest, registry)  # may move while the rows are asked
    subjects = _subjects(prepared, folder, servable, registry, bases, prod)
    table = manifest.evaluate.judge
    judge = None if table is None else Judge(table, folder / _KEPT_OF_EVALUATION, os.environ)
    evaluation: Evaluation = evaluate_subjects(
        subjects,
        rows,
        manifest.evaluate,
        engines=engines,
        say=say,
        seed=manifest.train.seed,
        max_length=manifest.train.max_length,
        train=prepared.rows["train"],
        ancestors=ancestor_tests(registry, manifest, prepared.base.checkpoint, cache),
        judge=judge,
        progress=progress,
    )
    if judge is not None:
        judge.close()
    return _evaluated(evaluation, folder, prod)


def evaluate_again_stage(
    prepared: Prepared, folder: Path, asked: dict[str, Any], registry: Registry
) -> dict[str, Any] | None:
    """Judge the answers that an earlier evaluation left in the folder, of which `asked` is the
    result; None if they do not suffice: another `prod`, or a metric that needs other answers."""
    from adapterworks.builders.evaluation.recorded import evaluate_again

    manifest = prepared.plan.manifest
    prod = prod_digest(manifest, registry)
    if prod is not None and asked["prod"] != prod:
        return None
    evaluation = evaluate_again(
        prepared.rows["test"],
        asked["report"],
        (folder / PREDICTIONS).read_text(encoding="utf-8"),
        manifest.evaluate,
        seed=manifest.train.seed,
    )
    return None if evaluation is None else _evaluated(evaluation, folder, asked["prod"])


def prod_digest(manifest: Manifest, registry: Registry) -> str | None:
    """The release that gates compare with; None if none does, or nothing was promoted yet."""
    if not any(gate.against == PROD for gate in manifest.evaluate.gates):
        return None
    try:
        return registry.resolve(f"{manifest.adapter.name}:{PROD}").digest
    except NotFound:
        return None


def _evaluated(evaluation: Evaluation, folder: Path, prod: str | None) -> dict[str, Any]:
    # At once or not at all: answers that were taken from a release are recorded as being there.
    write_atomic(folder / PREDICTIONS, evaluation.predictions_jsonl())
    return {"report": evaluation.report, "values": evaluation.values(), "prod": prod}


def candidates(prepared: Prepared, folder: Path, servable: Servable | None) -> dict[str, Subject]:
    """What was trained, as engines are asked for it, by name. The candidate is what will be served;
    where that is an approximation, the method's own adapter is asked beside it."""
    base, trained = base_model(prepared.base), folder / "train" / "adapter"
    served = folder / "servable" if servable is not None else None
    if approximate(servable) and served is not None:
        contents = contents_digest(served, served)
        candidate = Subject(
            base, Adapter(folder_digest(served), served, servable, served, contents=contents)
        )
        return {CANDIDATE: candidate, NATIVE: _native(prepared, base, trained, None, None)}
    return {CANDIDATE: _native(prepared, base, trained, servable, served)}


def _native(
    prepared: Prepared,
    base: Model,
    trained: Path,
    servable: Servable | None,
    served: Path | None,
) -> Subject:
    """The method's own; `servable` where what is served does exactly the same."""
    digest = folder_digest(trained)
    if METHODS[prepared.plan.manifest.method.kind].whole_model:
        return Subject(Model(digest, prepared.plan.manifest.adapter.name, trained, trained=True))
    contents = contents_digest(trained, served)
    return Subject(base, Adapter(digest, trained, servable, served, contents=contents))


def _subjects(
    prepared: Prepared,
    folder: Path,
    servable: Servable | None,
    registry: Registry,
    bases: BaseStore,
    prod: str | None,
) -> dict[str, Subject]:
    """Whom the test rows are asked; before the first promotion there is no `prod`, as gates say."""
    plan = prepared.plan
    subjects = candidates(prepared, folder, servable)
    subjects[BASE] = Subject(base_model(prepared.base))
    if plan.start is not None:
        subjects[START] = find_subject(registry, bases, _exact(plan.start)).subject
    if prod is not None:
        ref = f"{plan.manifest.adapter.name}@{prod}"
        subjects[PROD] = find_subject(registry, bases, ref).subject
    return subjects


def require_comparable(
    prepared: Prepared, registry: Registry, bases: BaseStore, prod: str | None
) -> None:
    """Refuse, before a training, a `prod` on another base whose likelihoods are of other tokens.

    Raises:
        InvalidInput: as `require_one_tokenizer`.
        NotFound: its base is not known here.
    """
    plan = prepared.plan
    if prod is None or registry.release(prod).base.digest == plan.base.digest:
        return
    ref = f"{plan.manifest.adapter.name}@{prod}"
    subjects = {
        BASE: Subject(base_model(prepared.base)),
        PROD: find_subject(registry, bases, ref).subject,
    }
    manifest, rows = plan.manifest, prepared.rows["test"]
    require_one_tokenizer(subjects, manifest.evaluate, rows, manifest.train.max_length)


def _exact(parent: Parent) -> str:
    """A ref that means this release, whatever its name's aliases are now."""
    return f"{(parent.ref or '').partition('@')[0]}@{parent.digest}"


def fingerprint_stage(prepared: Prepared, folder: Path, servable: Servable) -> dict[str, Any]:
    """Probe the served values with the servable form."""
    from adapterworks.builders.evaluation.fingerprint import make_fingerprint
    from adapterworks.builders.evaluation.served_model import ServedModel

    fingerprint = make_fingerprint(
        ServedModel(prepared.base.served, folder / "servable", servable),
        prepared.tokenizer,
        prepared.sequences("validation", _PROBED) or prepared.sequences("train", _PROBED),
        base_digest=prepared.base.digest,
        template_digest=prepared.base.template_digest,
    )
    (folder / "fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
    return {"probes": len(fingerprint["probes"])}
