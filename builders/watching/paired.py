"""Two releases on the same rows, a few at a time, until it is known whether one is worse.

Invariant: the order of the rows depends on the rows alone, and the verdict on the scores in that
order, so a watch that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.assemble import rows_to_evaluate
from adapterworks.builders.data.identity import asked_digest
from adapterworks.builders.data.load import load_like
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.releases import manifest_here
from adapterworks.builders.evaluation.scorers import scorer
from adapterworks.builders.evaluation.sequences import Decision, decide
from adapterworks.builders.evaluation.subjects import Released, find_subject
from adapterworks.builders.plan.digests import ASKING_SEMANTICS, EVALUATION_SEMANTICS
from adapterworks.builders.watching.alias import Pair
from adapterworks.builders.watching.draws import means, ordered
from adapterworks.builders.watching.score_log import ScoreLog, open_score_log
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.graders import graded
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry

_MORE_APART = 16  # batches at a time where each turn loads another base


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of it.

    Attributes:
        rows: how many there are.
        asked: how many were asked now; the others were kept from before.
        groups: how many draws those rows are, where rows name a `group`; the decision counts these.
    """

    metric: str
    decision: Decision
    rows: int
    asked: int
    groups: int | None = None


def watch_rows(
    pair: Pair,
    *,
    source: str | None = None,
    given: Sequence[Row] | None = None,
    metric: str | None = None,
    confidence: float,
    most: float,
    registry: Registry,
    bases: BaseStore,
    cache: Path,
    state: Path,
    engines: Engines | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Watched:
    """Ask both releases the next rows until the confidence sequence decides, or there are no more.

    Args:
        source: of the rows, as in a manifest; the watched release's own test rows, if not given.
        given: the rows themselves.
        metric: whose score of a row is compared; the first of the manifest that is a mean of scores
            from 0 to 1, if not given.
        most: the largest mean drop that is allowed, 0–1.
        state: folder where the scores are kept.
        progress: called with a release, rows done and rows in all.

    Raises:
        InvalidInput: there are no rows, or the metric is no mean of scores from 0 to 1.
        NotFound: a release, its base or its rows are not here.
        Conflict: another process is watching the same.
    """
    watched, reference = (
        find_subject(registry, bases, str(one)) for one in (pair.watched, pair.reference)
    )
    manifest = manifest_here(registry, watched, cache=cache)
    draws = ordered(
        _required(
            _rows(manifest, source, watched.base.model.folder, cache, registry)
            if given is None
            else given,
            watched.name,
        )
    )
    rows, sizes = [row for draw in draws for row in draw], [len(draw) for draw in draws]
    name, chosen = chosen_metric(manifest.evaluate, metric)
    if chosen.require is not None:
        chosen.require(rows)
    table = manifest.evaluate.model_copy(update={"metrics": (name,), "gates": ()})
    identity = {
        "watched": pair.watched.digest,
        "reference": pair.reference.digest,
        "rows": asked_digest(rows),
        "scorer": scorer(name),
        "max_new_tokens": table.max_new_tokens,
        "max_length": manifest.train.max_length,
        "semantics": [ASKING_SEMANTICS, EVALUATION_SEMANTICS],
    }
    with open_score_log(state, identity) as scores:
        before = len(scores)
        decide_now = partial(_decided, scores, chosen, sizes, most, confidence)
        decision = decide_now()
        if decision.verdict == "undecided" and before < len(rows):
            ask = _Asking(watched, reference, table, chosen, manifest.train.max_length)
            decision = _ask_on(ask, rows, scores, decide_now, engines or Engines(), progress, say)
        groups = len(draws) if len(draws) < len(rows) else None
        return Watched(chosen.name, decision, len(rows), len(scores) - before, groups)


@dataclass(frozen=True)
class _Asking:
    """Who is asked, and how the answers are scored."""

    watched: Released
    reference: Released
    table: EvaluateTable
    metric: Metric
    max_length: int

    @property
    def at_once(self) -> int:
        together = self.watched.subject.model.digest == self.reference.subject.model.digest
        return self.table.batch_size * (1 if together else _MORE_APART)


def _ask_on(
    ask: _Asking,
    rows: Sequence[Row],
    scores: ScoreLog,
    decide_now: Callable[[], Decision],
    engines: Engines,
    progress: Callable[[str, int, int], None] | None,
    say: Callable[[str], None] | None,
) -> Decision:
    subjects = {"watched": ask.watched.subject, "reference": ask.reference.subject}
    tokens = len(rows) * ask.table.max_new_tokens
    compared = [*subjects.values()]
    with engines.session(ask.table.engine, compared, tokens=tokens, say=say) as session:
        generators = [begin() for begin in asked(session, subjects).values()]
        while True:
            first = len(scores)
            some = rows[first : first + ask.at_once]
            columns = []
            for generator in generators:
                said = predict(generator, some, ask.table, max_length=ask.max_length)
                columns.append(ask.metric.per_example(ask.metric.measured(said, some)).tolist())
            scores.add(list(zip(*columns, strict=True)))
            decision = decide_now()
            if progress:
                progress(ask.watched.name, len(scores), len(rows))
            if decision.verdict != "undecided" or len(scores) == len(rows):
                return decision


def _decided(
    scores: ScoreLog, metric: Metric, sizes: Sequence[int], most: float, confidence: float
) -> Decision:
    watched, reference = scores.scores.T
    lost = means(reference - watched, sizes)
    return decide(lost if metric.higher_is_better else -lost, most, confidence)


def _rows(
    manifest: Manifest, source: str | None, base: Path, cache: Path, registry: Registry
) -> Sequence[Row]:
    if source is None:
        return rows_to_evaluate(manifest, base=base, cache=cache, registry=registry).test
    return load_like(manifest, source, cache=cache, split="test", registry=registry).rows


def _required(rows: Sequence[Row], name: str) -> Sequence[Row]:
    if not rows:
        raise InvalidInput(
            f"the manifest of `{name}` names no test rows", hint="name some with `--rows FILE`"
        )
    return rows


def chosen_metric(table: EvaluateTable, name: str | None) -> tuple[str, Metric]:
    """The metric of that name, or the first of a table that is a mean of scores from 0 to 1; and
    its name as a manifest has it, a grader's with its definition.

    Raises:
        InvalidInput: it is none such.
        Refused: nothing fits, and one is code in a file that the release does not have.
    """
    known, refused = [], None
    for one in table.metrics if name is None else (_named(name, table),):
        try:
            known.append((one, metric_named(one)))
        except Refused as error:
            refused = error
    for one, metric in known:
        if metric.is_mean and metric.unit == "share" and metric.absolute:
            return one, metric
    if refused is not None:
        raise refused
    named = ", ".join(f"`{one}`" for one, _ in known)
    raise InvalidInput(
        f"{named}: no mean of one score a row, from 0 to 1, which bounds at any time need",
        hint="name one with `--metric`, such as `exact_match`; see `adapters metrics`",
    )


def _named(name: str, table: EvaluateTable) -> str:
    try:
        return graded(name, table.graders)
    except ValueError as error:
        raise InvalidInput(
            str(error), hint="name one of these with `--metric`, or another metric"
        ) from None
