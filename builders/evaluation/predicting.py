"""What one subject gives for the rows: texts, likelihoods, margins and verdicts, as metrics need.

Invariant: a subject is asked for nothing that no metric of the table needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adapterworks.builders.data.render import IGNORED, Encoded, encode_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.metrics.metric import (
    ANSWERS,
    JUDGED,
    LIKELIHOOD,
    PREFERENCE,
    STEPS,
    VERDICT,
    Prediction,
)
from adapterworks.builders.evaluation.needs import (
    encode_judged_steps,
    needs_of,
    require_answers,
    require_pairs,
)
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.builders.objectives.examples import encode_answers
from adapterworks.builders.objectives.verdicts import encode_verdicts
from adapterworks.manifests.evaluate_tables import EvaluateTable


def predict(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    max_length: int = 1024,
    seed: int = 42,
    progress: Progress | None = None,
) -> list[Prediction]:
    """One subject's predictions on the rows: texts, likelihoods, or both, as the metrics need.

    Args:
        max_length: tokens of a row whose likelihood is scored.
        seed: of the answers that are drawn.

    Raises:
        InvalidInput: an unknown metric, or a text row under a metric that needs answers.
    """
    needs = needs_of(table)
    texts, whole, cut = [""] * len(rows), [""] * len(rows), [False] * len(rows)
    drawn: list[tuple[str, ...]] = [()] * len(rows)
    whole_drawn: list[tuple[str, ...]] = [()] * len(rows)
    if needs & {ANSWERS, JUDGED}:
        require_answers(rows)
        texts = generator.generate(
            [row.prompt for row in rows],
            tools=[row.tools for row in rows],
            max_new_tokens=table.max_new_tokens,
            batch_size=table.batch_size,
            progress=progress,
        )
        cut, whole = [*generator.cut], [*generator.whole]
        if table.samples.n:
            drawn = generator.sample(
                [row.prompt for row in rows],
                tools=[row.tools for row in rows],
                max_new_tokens=table.max_new_tokens,
                batch_size=table.batch_size,
                table=table.samples,
                seed=seed,
                progress=progress,
            )
            whole_drawn = [*generator.whole_drawn]
    likelihoods = np.zeros((len(rows), 2))
    if LIKELIHOOD in needs:
        encoded = encode_rows(generator.tokenizer, rows, max_length)
        scored = generator.likelihood(encoded, batch_size=table.batch_size, progress=progress)
        np.add.at(likelihoods, [sequence.row for sequence in encoded], scored)
    margins = [0.0] * len(rows)
    if PREFERENCE in needs:
        margins = _margins(generator, rows, table, max_length, progress)
    verdicts = [0.0] * len(rows)
    if VERDICT in needs:
        verdicts = _verdicts(generator, rows, table, max_length, progress)
    steps: list[tuple[float, ...]] = [()] * len(rows)
    if STEPS in needs:
        steps = _steps(generator, rows, table, progress)
    return [
        Prediction(
            text,
            float(nll),
            int(count),
            margin,
            verdict,
            long,
            samples,
            steps=judged,
            whole="" if written == text else written,
            whole_samples=() if all_written == samples else all_written,
        )
        for text, (nll, count), margin, verdict, long, samples, judged, written, all_written in zip(
            texts,
            likelihoods,
            margins,
            verdicts,
            cut,
            drawn,
            steps,
            whole,
            whole_drawn,
            strict=True,
        )
    ]


def _margins(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    max_length: int,
    progress: Progress | None,
) -> list[float]:
    """By how much each row's better answer is likelier than the next best, in nats."""
    require_pairs(rows)
    pairs = encode_answers(generator.tokenizer, rows, max_length, 2)
    scored = generator.likelihood(
        [sequence for pair in pairs for sequence in pair],
        batch_size=table.batch_size,
        progress=progress,
    )
    better, worse = scored[:, 0].reshape(-1, 2).T
    return [float(value) for value in worse - better]


def _verdicts(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    max_length: int,
    progress: Progress | None,
) -> list[float]:
    """By how much each row's better answer is judged better than the next best, in nats."""
    require_pairs(rows)
    sequences = [
        said
        for pair in encode_verdicts(generator.tokenizer, rows, max_length, 2)
        for sequence in pair
        for said in (sequence, _contrary(sequence))
    ]
    scored = generator.likelihood(sequences, batch_size=table.batch_size, progress=progress)
    good, bad = scored[:, 0].reshape(-1, 2).T
    better, worse = (bad - good).reshape(-1, 2).T
    return [float(value) for value in better - worse]


def _steps(
    generator: Generator, rows: Sequence[Row], table: EvaluateTable, progress: Progress | None
) -> list[tuple[float, ...]]:
    """The reward of each step of each row's own answer, in nats: what stands before it, and both
    things that may be said of it."""
    whole = encode_judged_steps(generator.tokenizer, rows)
    sequences = [
        said
        for sequence in whole
        for place, label in enumerate(sequence.labels)
        if label != IGNORED
        for said in _both(sequence, place)
    ]
    scored = generator.likelihood(sequences, batch_size=table.batch_size, progress=progress)
    good, bad = scored[:, 0].reshape(-1, 2).T
    rewards = iter((bad - good).tolist())
    return [tuple(next(rewards) for _ in row.steps) for row in rows]


def _both(sequence: Encoded, place: int) -> tuple[Encoded, Encoded]:
    """What stands before a place, with its label and with what it is weighed against."""
    before, nothing = sequence.input_ids[:place], [IGNORED] * place
    good, bad = sequence.labels[place], int(sequence.columns[CONTRAST][place])
    return tuple(Encoded([*before, said], [*nothing, said]) for said in (good, bad))  # type: ignore[return-value]


def _contrary(sequence: Encoded) -> Encoded:
    """The same sequence with the other verdict."""
    other = int(sequence.columns[CONTRAST][-1])
    return replace(
        sequence,
        input_ids=[*sequence.input_ids[:-1], other],
        labels=[*sequence.labels[:-1], other],
    )
