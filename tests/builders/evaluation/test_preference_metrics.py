"""Which of two answers a model finds likelier, with the numbers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.recorded import evaluate_again
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable

TABLE = EvaluateTable(metrics=("preference_accuracy", "preference_margin"), bootstrap_samples=200)


def pair(number: int) -> Row:
    rejected = ({"role": "assistant", "content": f"no {number}"},)
    return Row(chat(f"q{number}", "yes").messages, others=(rejected,))  # type: ignore[arg-type]


def test_margins_are_of_the_better_answer_less_the_other(tiny: Any) -> None:
    from transformers import AutoTokenizer

    class Says:
        """The rows' numbers stand in the rejected answers: 3 nats for the better, n for n."""

        tokenizer = AutoTokenizer.from_pretrained(tiny)

        def likelihood(self, sequences: Any, **_: Any) -> Any:
            texts = [self.tokenizer.decode(s.input_ids) for s in sequences]
            nats = [3.0 if "yes" in text else float(text[-5]) for text in texts]
            return np.asarray([(value, 1.0) for value in nats])

    predictions = predict(Says(), [pair(5), pair(3), pair(1)], TABLE)  # type: ignore[arg-type]
    assert [one.margin for one in predictions] == [2.0, 0.0, -2.0]
    with pytest.raises(InvalidInput, match="test row 1 has one answer, and a metric compares two"):
        predict(Says(), [chat("q", "a")], TABLE)  # type: ignore[arg-type]


def test_accuracy_margin_and_implicit_reward_have_intervals() -> None:
    """Of four pairs the candidate is right in three and moved the right way in two."""
    rows = [pair(n) for n in range(4)]
    given = {"candidate": [2.0, 1.0, 0.5, -1.0], "start": [1.0, 2.0, -1.0, -1.0]}
    predictions = {
        name: [Prediction(margin=value) for value in margins] for name, margins in given.items()
    }
    evaluation = evaluate(rows, predictions, TABLE)
    values = {name: entry["values"] for name, entry in evaluation.report["metrics"].items()}
    assert values["preference_accuracy"] == {"candidate": 0.75, "start": 0.5}
    assert values["preference_margin"] == {"candidate": 0.625, "start": 0.25}
    told = evaluation.report["preferences"]
    assert told.keys() == {"start"}
    assert told["start"]["reward_accuracy"] == 0.5
    assert told["start"]["margin"] == pytest.approx(0.375)
    low, high = told["start"]["interval"]
    assert 0 <= low < 0.5 < high <= 1
    # From the answers alone, nobody being asked again.
    again = evaluate_again(
        rows,
        json.loads(json.dumps(evaluation.report)),
        evaluation.predictions_jsonl(),
        TABLE,
        seed=42,
    )
    assert again is not None
    assert again.report == evaluation.report


def test_ten_pairs_of_ten_are_not_sure_and_a_group_is_one() -> None:
    """10 of 10 is at least 74 %; two groups of five pairs each show next to nothing."""

    def interval(**group: int) -> list[float]:
        rows = [pair(n).with_meta(**{k: n // v for k, v in group.items()}) for n in range(10)]
        predictions = {
            name: [Prediction(margin=value)] * 10
            for name, value in {"candidate": 1.0, "base": 0.0}.items()
        }
        found: list[float] = evaluate(rows, predictions, TABLE).report["preferences"]["base"][
            "interval"
        ]
        return found

    assert interval() == pytest.approx([0.736, 1.0], abs=1e-3)
    assert interval(group=1) == pytest.approx(interval())
    assert interval(group=5)[0] == 0.0


def test_where_nothing_compares_answers_nothing_is_told() -> None:
    table = EvaluateTable(metrics=("exact_match",), bootstrap_samples=50)
    report = evaluate([chat("q", "a")], {"candidate": [Prediction("a")]}, table).report
    assert report["preferences"] is None
