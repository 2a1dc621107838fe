"""Metrics on cases made by hand, whose values can be checked by eye."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.evaluation.metrics import METRICS, metric
from adapterworks.builders.evaluation.metrics.icd import CHAPTERS, category, chapter
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import InvalidInput


def score(name: str, pairs: Sequence[tuple[str, str]]) -> tuple[float, list[float]]:
    """The metric's value and per-example scores of (answer, reference) pairs."""
    rows = [chat("q", reference) for _, reference in pairs]
    statistics = METRICS[name].statistics([Prediction(answer) for answer, _ in pairs], rows)
    return METRICS[name].value(statistics), METRICS[name].per_example(statistics).tolist()


@pytest.mark.parametrize(
    ("name", "scores"),
    [("exact_match", [1.0, 0.0, 0.0, 0.0]), ("accuracy", [1.0, 1.0, 1.0, 0.0])],
)
def test_exact_match_forgives_white_space_and_accuracy_case_too(
    name: str, scores: list[float]
) -> None:
    pairs = [
        (" A06  Amebiasis\n", "A06 Amebiasis"),
        ("a06 amebiasis.", "A06 Amebiasis"),
        ("A06 Amebiasis\nBecause …", "A06 Amebiasis"),
        ("A07 Amebiasis", "A06 Amebiasis"),
    ]
    assert score(name, pairs) == (sum(scores) / 4, scores)


def test_macro_f1_equals_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    truth = ["a", "a", "a", "b", "b", "c"]
    given = ["a", "a", "b", "b", "a", "b"]
    value, _ = score("macro_f1", list(zip(given, truth, strict=True)))
    assert value == pytest.approx(f1_score(truth, given, average="macro"))


def test_macro_f1_gives_rare_classes_their_weight() -> None:
    majority = [("a", "a")] * 9 + [("a", "b")]
    assert score("accuracy", majority)[0] == 0.9
    assert score("macro_f1", majority)[0] == pytest.approx((18 / 19) / 2)


@pytest.mark.parametrize("name", ["rouge_l", "bleu", "chrf"])
def test_overlap_is_one_for_equal_and_zero_for_different_text(name: str) -> None:
    same = [("acute viral hepatitis with coma", "acute viral hepatitis with coma")]
    assert score(name, same)[0] == pytest.approx(1.0)
    assert score(name, [("xyz", "acute viral hepatitis")])[0] == pytest.approx(0.0, abs=0.01)


def test_corpus_scores_equal_the_libraries_own() -> None:
    import sacrebleu

    answers = ["the cat sat on the mat today", "a dog barks", ""]
    references = ["the cat sat on a mat today", "the dog barks loudly", "nothing"]
    pairs = list(zip(answers, references, strict=True))
    bleu = sacrebleu.corpus_bleu(answers, [references], use_effective_order=True)
    assert score("bleu", pairs)[0] == pytest.approx(bleu.score / 100)
    chrf = sacrebleu.corpus_chrf(answers, [references])
    assert score("chrf", pairs)[0] == pytest.approx(chrf.score / 100)


def test_rouge_l_equals_rouge_score_on_english() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    answer, reference = "Acute hepatitis-B, with coma!", "acute viral hepatitis B with coma"
    expected = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert score("rouge_l", [(answer, reference)])[0] == pytest.approx(expected)


def test_chinese_is_scored_by_character() -> None:
    import sacrebleu

    answer, reference = "急性病毒性肺病", "急性细菌性肝病"
    assert score("rouge_l", [(answer, reference)])[0] == pytest.approx(4 / 7)  # 急 性 性 病
    bleu = sacrebleu.corpus_bleu([answer], [[reference]], tokenize="zh", use_effective_order=True)
    assert score("bleu", [(answer, reference)])[0] == pytest.approx(bleu.score / 100)
    assert bleu.score > 10


def test_icd_category_and_chapter() -> None:
    pairs = [
        ("A06 Amebiasis", "A06 Amebiasis"),
        ("The code is a06.82.", "A06 Amebiasis"),
        ("B15 Acute hepatitis A", "A06 Amebiasis"),  # other category, same chapter
        ("C15", "A06 Amebiasis"),
        ("I do not know", "A06 Amebiasis"),
    ]
    assert score("icd_category", pairs)[1] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert score("icd_chapter", pairs)[1] == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert category("ICD-10-CM: D49.2") == "D49"
    assert (chapter("D49"), chapter("D50"), chapter("H59"), chapter("H60")) == (2, 3, 7, 8)
    assert len(CHAPTERS) == 22
    assert chapter(None) is None


FIXED = "def f(x):\n    return x is None"


def code_row(rule: str) -> Row:
    return chat("Fix it", FIXED).with_meta(rule=rule)


@pytest.mark.parametrize(
    ("answer", "matches", "clean"),
    [
        (FIXED, 1.0, 1.0),
        ("```python\ndef f(x):\n    # why\n    return (x is None)\n```\nDone.", 1.0, 1.0),
        ("def f(x):\n    return '%s' % (x,)", 0.0, 0.0),
        ("def f(x):\n    pass", 0.0, 1.0),  # deleting the code pleases the linter: not alone
        ("def f(x:\n", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_ast_match_and_ruff_clean(answer: str, matches: float, clean: float) -> None:
    rows = [code_row("UP031")]
    given = [Prediction(answer)]
    assert METRICS["ast_match"].statistics(given, rows).item() == matches
    assert METRICS["ruff_clean"].statistics(given, rows).item() == clean


@pytest.mark.parametrize(
    "rule",
    [
        "B0O6",
        "B006,E501",
        "--help",
        "",
        7,
        ["B006"],
        "no such rule",
        "B",
        "ALL",
        "E999",
        "PGH001",
        "FURB101",
    ],
)
def test_a_rule_that_ruff_does_not_know_is_refused_before_anything_is_asked(rule: Any) -> None:
    """What ruff would report under no such code is clean in every answer."""
    require = METRICS["ruff_clean"].require
    assert require is not None
    require([chat("q", "a"), chat("q", "a", rule="B006"), chat("q", "a", rule="B006")])
    with pytest.raises(InvalidInput, match="row 2 names a rule in its column `rule` that ruff"):
        require([chat("q", "a", rule="B006"), chat("q", "a", rule=rule)])


def test_ruff_clean_looks_at_the_rows_own_rule_only() -> None:
    answer = "def f(x):\n    return '%s' % (x,)"
    rows = [code_row("UP031"), code_row("E713")]
    scores = METRICS["ruff_clean"].statistics([Prediction(answer)] * 2, rows)
    assert scores.ravel().tolist() == [0.0, 1.0]


def test_perplexity_is_over_tokens_not_rows() -> None:
    given = [Prediction(nll=2.0, tokens=1), Prediction(nll=1.0, tokens=5)]
    perplexity = METRICS["perplexity"]
    statistics = perplexity.statistics(given, [chat("q", "a")] * 2)
    assert perplexity.value(statistics) == pytest.approx(math.exp(3.0 / 6))
    assert not perplexity.higher_is_better


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_resample_of_all_rows_once_is_the_value(name: str) -> None:
    """The invariant that the bootstrap stands on: additive statistics, one aggregate."""
    columns = {"rule": "UP031", "schema": {"type": "string"}, "tests": "assert one"}
    columns |= {"regex": "^A", "format": "csv", "api": {"f": "(x)"}}
    rows = [chat("q", text).with_meta(**columns) for text in ("A06 one", "B15 two", "A06 one")]
    given = [
        Prediction(text, nll, 3)
        for text, nll in (("A06 one", 1.0), ("A06 one", 2.0), ("B15 two", 3.0))
    ]
    statistics = METRICS[name].statistics(given, rows)
    weights = np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]])
    values = METRICS[name].aggregate(weights @ statistics, 3)
    assert values.shape == (2,)
    assert values[0] == pytest.approx(METRICS[name].value(statistics))
    first = METRICS[name].statistics(given[:1] * 3, rows[:1] * 3)
    assert values[1] == pytest.approx(METRICS[name].value(first))


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="`f1`") as caught:
        metric("f1")
    assert "macro_f1" in str(caught.value.hint)


def test_adapters_metrics_lists_them_all() -> None:
    result = CliRunner().invoke(cli, ["metrics", "--json"])
    assert [entry["name"] for entry in json.loads(result.stdout)] == [*METRICS]
    assert "perplexity" in CliRunner().invoke(cli, ["metrics"]).stdout
