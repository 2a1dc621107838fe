"""Who reads predictions.jsonl reads lines of JSON, whatever line ends stand within its texts."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.transfer import scored_then
from adapterworks.builders.failures.evaluated import evaluated_failures
from adapterworks.builders.reviewing.review import _answered
from adapterworks.manifests.evaluate_tables import EvaluateTable

SAID = "a\u2028b\u2029c\u0085d"


@pytest.fixture
def told() -> bytes:
    rows = [chat(f"q{SAID}", "right"), chat("q", SAID)]
    found = evaluate(
        rows,
        {"candidate": [Prediction(SAID), Prediction(SAID)]},
        EvaluateTable(metrics=("exact_match",)),
    )
    return found.predictions_jsonl().encode()


class Kept:
    """A registry with one release's predictions."""

    def __init__(self, told: bytes) -> None:
        self.told = told

    def read_if_here(self, digest: str, name: str) -> bytes:
        return self.told


def test_every_reader_takes_a_line_for_a_line(told: bytes) -> None:
    release: Any = type("Resolved", (), {"digest": "sha256:1"})()
    registry: Any = Kept(told)
    assert scored_then(told, "exact_match").tolist() == [0.0, 1.0]
    failures, asked = evaluated_failures(registry, release)
    assert (asked, [one.answer for one in failures]) == (2, [SAID])
    assert len(_answered(registry, release)) == 2
    rows = chat("q", "a", format="jsonl")
    assert metric("format_valid").score(f'{{"a": "{SAID}"}}\n{{}}', rows) == 1.0
