"""A release with retrieval and without, and its base with and without, on the same test rows.

Four subjects in one comparison, so that every difference is paired: what passages give, what the
fine-tuning gives, and what both give together.

Invariant: all are asked by the same engine, greedily; passages are found by the question alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.data.assemble import rows_to_evaluate
from adapterworks.builders.data.load import take
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.comparison import CANDIDATE, compare, groups_of
from adapterworks.builders.evaluation.evaluate import BASE
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import of_answers
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.releases import manifest_here
from adapterworks.builders.evaluation.report import CONFIDENCE, entries
from adapterworks.builders.evaluation.statistics import Floats, share_interval
from adapterworks.builders.evaluation.subjects import find_subject
from adapterworks.builders.retrieving.bm25 import Index
from adapterworks.builders.retrieving.faithfulness import Evidence, evidence, stands_in
from adapterworks.builders.retrieving.prompted import prompted
from adapterworks.builders.synthesis.passages import Passage, read_passages
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import SamplesTable

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry

WITHOUT = "without"
BASE_WITH = "base with"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How passages are found and shown.

    Attributes:
        places: documents, or folders of them.
        most: passages for a question.
        characters: of each, at most.
    """

    places: tuple[Path, ...]
    most: int = 3
    characters: int = 800


@dataclass(frozen=True)
class Compared:
    """What came of it: a report, and for each row what was found, said and by what it is borne."""

    report: dict[str, Any]
    lines: list[dict[str, Any]]


def evaluate_with_retrieval(
    ref: str,
    retrieval: Retrieval,
    *,
    limit: int | None = None,
    data_dir: Path | None = None,
    registry: Registry,
    bases: BaseStore,
    cache: Path,
    engines: Engines | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Compared:
    """Ask a release and its base its own test rows, with passages and without.

    Args:
        limit: at most so many test rows.
        data_dir: where relative paths of the release's manifest begin, if that is not known here.

    Raises:
        InvalidInput: there are no test rows or no passages, or no metric of answers.
        NotFound: no such release, or its base, its rows or a document is not here.
    """
    # No longer than what is shown: what is found is what the model reads.
    index = Index(read_passages(retrieval.places, most=retrieval.characters))
    found = find_subject(registry, bases, ref)
    manifest = manifest_here(registry, found, cache=cache, folder=data_dir)
    base = found.base.model.folder
    splits = rows_to_evaluate(manifest, base=base, cache=cache, registry=registry)
    rows = take(splits.test, limit)
    if not rows:
        raise InvalidInput(
            f"the manifest of `{found.name}` names no test rows", hint="set `data.test` in it"
        )
    unjudged = manifest.evaluate.model_copy(update={"samples": SamplesTable(), "judge": None})
    table = of_answers(unjudged, say)
    passages = [
        tuple(passage for passage, _ in index.best(row.question, retrieval.most)) for row in rows
    ]
    with_passages = [
        prompted(row, given, retrieval.characters)
        for row, given in zip(rows, passages, strict=True)
    ]
    arms = {
        BASE: (found.base, rows),
        BASE_WITH: (found.base, with_passages),
        WITHOUT: (found.subject, rows),
        CANDIDATE: (found.subject, with_passages),
    }
    said: dict[str, list[Prediction]] = {}
    tokens = 2 * len(rows) * table.max_new_tokens
    subjects = [found.base, found.subject]
    with (engines or Engines()).session(table.engine, subjects, tokens=tokens, say=say) as session:
        begin = asked(session, {name: subject for name, (subject, _) in arms.items()})
        generators = {name: opened() for name, opened in begin.items()}  # all are known by now
        for name, (_, asking) in arms.items():
            said[name] = predict(
                generators[name], asking, table, max_length=manifest.train.max_length,
                progress=_named(progress, name),
            )  # fmt: skip
    seed = manifest.train.seed
    metrics = [metric(name) for name in table.metrics]
    compared = compare(metrics, rows, said, table.bootstrap_samples, seed)
    borne = {
        name: [evidence(one.text, given) for one, given in zip(said[name], passages, strict=True)]
        for name in (BASE_WITH, CANDIDATE)
    }
    groups = groups_of(rows)
    report = {
        "rows": len(rows),
        "subjects": [*arms],
        "metrics": entries(compared),
        "retrieval": {
            "method": "bm25",
            "passages": len(index.passages),
            "most": retrieval.most,
            "characters": retrieval.characters,
            "reference_found": _share(
                [
                    float(stands_in(row.answer, given))
                    for row, given in zip(rows, passages, strict=True)
                ],
                groups,
            ),
            "faithfulness": {
                name: _share([one.score for one in found_], groups)
                for name, found_ in borne.items()
            },
        },
    }
    return Compared(report, [*_lines(rows, passages, said, borne)])


def _lines(
    rows: Sequence[Row],
    passages: Sequence[Sequence[Passage]],
    said: dict[str, list[Prediction]],
    borne: dict[str, list[Evidence]],
) -> list[dict[str, Any]]:
    return [
        {
            "row": at + 1,
            "question": row.question,
            "reference": row.answer,
            "passages": [
                {"document": one.document, "passage": one.number, "page": one.page}
                for one in passages[at]
            ],
            "answers": {name: given[at].text for name, given in said.items()},
            "evidence": {name: asdict(found[at]) for name, found in borne.items()},
        }
        for at, row in enumerate(rows)
    ]


def _share(scores: Sequence[float], groups: Floats | None) -> dict[str, float]:
    """A mean of scores from 0 to 1, with its interval."""
    values = np.asarray(scores, dtype=np.float64)
    bounds = share_interval(values, CONFIDENCE, groups)
    return {"mean": float(values.mean()), "low": bounds.low, "high": bounds.high}


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)
