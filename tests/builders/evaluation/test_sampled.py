"""pass@k by hand, and of answers that are really drawn; answers that were too long."""

from __future__ import annotations

from math import comb
from pathlib import Path

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.endpoints.endpoint import parse_endpoint
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import check_metrics
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.recorded import evaluate_again
from adapterworks.builders.evaluation.remote import Prices, Remote
from adapterworks.builders.evaluation.sampled import pass_at_k
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, SamplesTable
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.evaluation.asked import ask_reference

ROWS = [chat("a", "yes"), chat("b", "yes")]


def test_the_chance_of_k_answers_by_hand() -> None:
    """2 of 5 are right: of the 10 pairs 3 have no right one, of 4 answers at least one is."""
    assert [pass_at_k(5, 2, k) for k in (1, 2, 4)] == [0.4, 0.7, 1.0]
    assert [pass_at_k(5, right, 5) for right in (0, 1, 5)] == [0.0, 1.0, 1.0]


def test_the_estimate_is_right_on_average() -> None:
    """Over all that 6 draws at 0.3 may come to it is 1 − 0.7², which 1 − (1 − c/n)² is not."""
    chances = [comb(6, c) * 0.3**c * 0.7 ** (6 - c) for c in range(7)]
    estimates = [pass_at_k(6, c, 2) for c in range(7)]
    assert sum(p * e for p, e in zip(chances, estimates, strict=True)) == pytest.approx(0.51)
    plugged = sum(p * (1 - (1 - c / 6) ** 2) for c, p in enumerate(chances))
    assert plugged < 0.48


def test_the_report_has_every_metric_of_right_answers_and_every_k() -> None:
    table = EvaluateTable(metrics=("exact_match", "rouge_l"), samples=SamplesTable(n=4, k=(2, 1)))
    given = {
        "base": [Prediction("no", samples=("no",) * 4) for _ in ROWS],
        "candidate": [
            Prediction("yes", samples=("yes", "no", "yes", "no")),
            Prediction("yes", cut=True, samples=("no", "no", "no", "yes")),
        ],
        "nearest": [Prediction("no") for _ in ROWS],
    }
    evaluation = evaluate(ROWS, given, table)
    told = evaluation.report["samples"]
    assert [*told["metrics"]] == ["exact_match"]
    first, second = (told["metrics"]["exact_match"][f"pass@{k}"] for k in (1, 2))
    assert first["values"] == {"base": 0.0, "candidate": 0.375}
    assert second["values"]["candidate"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    gain = second["gains"]["base"]
    assert gain["gain"] == pytest.approx(2 / 3)
    assert gain["low"] < gain["gain"] < gain["high"]
    assert evaluation.report["cut"] == {"candidate": 1}
    again = evaluate_again(ROWS, evaluation.report, evaluation.predictions_jsonl(), table, seed=42)
    assert again is not None
    assert (again.report["samples"], again.report["cut"]) == (told, {"candidate": 1})


def test_answers_are_drawn_and_those_that_were_too_long_are_counted(tiny: Path) -> None:
    """Of a random base: two tokens are never an answer, and each seed draws its own."""
    asked = ask_reference(tiny)
    table = EvaluateTable(max_new_tokens=2, samples=SamplesTable(n=3, temperature=1.5))
    first, again, other = (
        predict(asked, ROWS, table, seed=seed, max_length=64) for seed in (1, 1, 2)
    )
    assert [len({*one.samples}) for one in first] == [3, 3]
    assert [one.samples for one in first] == [one.samples for one in again]
    assert [one.samples for one in first] != [one.samples for one in other]
    assert [one.cut for one in first] == [True, True]
    without = predict(asked, ROWS, EvaluateTable(max_new_tokens=2), max_length=64)
    assert [one.samples for one in without] == [(), ()]


def test_an_endpoint_is_asked_once_for_each_sample() -> None:
    def answer(body: dict[str, object]) -> tuple[int, object, dict[str, str]]:
        drawn = body["temperature"] != 0
        return 200, completion(f"{body.get('seed')}", "stop" if drawn else "length"), {}

    table = EvaluateTable(samples=SamplesTable(n=2, temperature=0.5, top_p=0.9))
    with endpoint(answer) as server:
        remote = Remote(parse_endpoint(f"{server.url}#other", {}, None), Prices(1e6, 1e6))
        found = predict(remote, ROWS, table, seed=7)
    assert [one.samples for one in found] == [("7", "8"), ("7", "8")]
    drawn = [body for body in server.bodies if body["temperature"] == 0.5]
    assert [body["top_p"] for body in drawn] == [0.9] * 4
    assert (remote.used()["cut"], remote.used()["cost"]) == (2, 60.0)


def test_samples_without_a_metric_of_right_answers_are_refused_first() -> None:
    table = EvaluateTable(metrics=("perplexity", "rouge_l"), samples=SamplesTable(n=2))
    with pytest.raises(InvalidInput, match="no metric here tells right from wrong"):
        check_metrics(table)
    check_metrics(table.model_copy(update={"metrics": ("exact_match",)}))
