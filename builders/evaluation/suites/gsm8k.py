"""GSM8K (Cobbe et al. 2021): word problems; the last number of the answer counts."""

from __future__ import annotations

from functools import partial

from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.metrics.numbers import last_number
from adapterworks.builders.evaluation.suites.suite import BATCH, Cases, Suite, carried

_TOKENS = 256


def _score(generator: Generator, cases: Cases, progress: Progress | None) -> list[float]:
    answers = generator.generate(
        [({"role": "user", "content": case["prompt"]},) for case in cases],
        max_new_tokens=_TOKENS,
        batch_size=BATCH,
        progress=progress,
    )
    hits = []
    for answer, case in zip(answers, cases, strict=True):
        given = last_number(answer)
        hits.append(float(given is not None and given == last_number(str(case["expected"]))))
    return hits


SUITE = Suite(
    name="gsm8k",
    description="Word problems, by the last number of the answer (GSM8K, 100 rows, generated)",
    cases=partial(carried, "gsm8k"),
    score=_score,
)
