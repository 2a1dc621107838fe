"""A published release against its base, and against another release, on the same rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.data.assemble import rows_to_evaluate
from adapterworks.builders.data.load import take
from adapterworks.builders.data.places import located
from adapterworks.builders.endpoints.asking import require_answering
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.comparison import CANDIDATE
from adapterworks.builders.evaluation.evaluate import BASE, Evaluation, evaluate_subjects
from adapterworks.builders.evaluation.needs import check_metrics, of_answers
from adapterworks.builders.evaluation.remote import Remote
from adapterworks.builders.evaluation.subjects import Released, find_subject
from adapterworks.builders.evaluation.unjudged import PROD, judged_gates, unjudged
from adapterworks.builders.plan.sent import of_test_rows
from adapterworks.builders.rewards.asking import Judge
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.judging import JudgeTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import NEAREST
from adapterworks.manifests.refs import Ref, parse_ref
from adapterworks.registry.reading.diff import LOCK

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry


def evaluate_release(
    ref: str,
    *,
    against: str = BASE,
    manifest: Manifest | None = None,
    baseline: Literal["none", "nearest"] | None = None,
    remote: Remote | None = None,
    judge: JudgeTable | None = None,
    limit: int | None = None,
    data_dir: Path | None = None,
    registry: Registry,
    bases: BaseStore,
    cache: Path,
    engines: Engines | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Ask a release, its base and maybe another release the same test rows.

    Args:
        ref: the candidate.
        against: a second release, or `base`, which is always among the compared.
        manifest: whose rows, metrics and gates are taken instead of the candidate's own.
        baseline: what is compared beside the base without a model, if not what `[evaluate]` says.
        remote: a model behind an endpoint that is asked the same questions. What can only be
            measured by likelihoods is left out then, gates of it included.
        judge: a model that compares the candidate's answers with the others', if not the one of
            `[evaluate]`.
        limit: at most this many test rows.
        data_dir: where the relative paths of the candidate's own manifest begin.
        cache: folder of what recipes derive.
        engines: who answers; the reference implementation alone, if not given.
        progress: called with subject, rows done and rows in all.
        say: told which engine is asked where that is not the one that was wanted.

    Raises:
        InvalidInput: there are no test rows, or nothing that an endpoint or a judge can be asked.
        Refused, Unavailable: an endpoint refuses, or does not answer.
        NotFound: no such release, or its base or data is not here.
        IntegrityError: a data file is not the one that the candidate was built from.
    """
    candidate = find_subject(registry, bases, ref)
    subjects = {BASE: candidate.base}
    if against != BASE:
        other = find_subject(registry, bases, against)
        # Gates say `prod`; any other ref is compared under its own name.
        subjects[PROD if parse_ref(against).alias == PROD else other.name] = other.subject
    subjects[CANDIDATE] = candidate.subject
    if manifest is None:
        manifest = manifest_here(registry, candidate, cache=cache, folder=data_dir)
    splits = rows_to_evaluate(
        manifest, base=candidate.base.model.folder, cache=cache, registry=registry
    )
    rows = take(splits.test, limit)
    if not rows:
        raise InvalidInput(
            f"the manifest of `{candidate.name}` names no test rows",
            hint="set `data.test` or `data.test_share`, or name another manifest with `--manifest`",
        )
    table = manifest.evaluate
    if baseline is not None:
        table = table.model_copy(update={"baseline": baseline})
    if judge is not None:
        table = table.model_copy(update={"judge": judge})
    check_metrics(table)
    asked_of = manifest.model_copy(update={"evaluate": table})
    if remote is not None:
        table = of_answers(table, say)
        require_answering(remote.endpoint)
    asked = _judge(table.judge, candidate, cache)
    if asked is not None:
        if say is not None:
            say(of_test_rows(len(rows), asked.table))
        require_answering(asked.endpoint)
    named = {*subjects} | ({NEAREST} if table.baseline == NEAREST else set())
    no_prod = not _has_prod(registry, candidate)
    left = unjudged(asked_of, table, named, no_prod=no_prod)
    gates = judged_gates(table, named, no_prod=no_prod)
    with nullcontext() if asked is None else closing(asked):
        evaluation = evaluate_subjects(
            subjects,
            rows,
            table.model_copy(update={"gates": gates}),
            engines=engines or Engines(),
            say=say,
            seed=manifest.train.seed,
            max_length=manifest.train.max_length,
            train=splits.train,
            remotes={remote.endpoint.name: remote} if remote else None,
            judge=asked,
            progress=progress,
        )
    return evaluation.with_gates(left) if left else evaluation


def _has_prod(registry: Registry, candidate: Released) -> bool:
    try:
        registry.resolve(Ref(candidate.release.name, alias=PROD))
    except NotFound:
        return False
    return True


def _judge(table: JudgeTable | None, candidate: Released, cache: Path) -> Judge | None:
    """Keeps what it says of a release's answers in a file of its own."""
    if table is None:
        return None
    name = digest_json({"judge": table.endpoint, "of": candidate.release.digest})[7:39]
    return Judge(table, cache / "endpoints" / f"judge-{name}.jsonl", os.environ)


def manifest_here(
    registry: Registry, released: Released, *, cache: Path, folder: Path | None = None
) -> Manifest:
    """The manifest of a release, with its rows where they are on this machine.

    Args:
        folder: where its relative paths begin, if that is not known here.

    Raises:
        InvalidInput, NotFound, IntegrityError: as `Released.manifest`, `located`.
    """
    release = released.release
    lock = json.loads(registry.read(release.digest, LOCK)) if LOCK in release.files else {}
    return located(released.manifest, lock, what=released.name, cache=cache, folder=folder)
