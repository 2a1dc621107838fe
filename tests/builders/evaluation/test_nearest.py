"""The nearest training row: what a look-up answers, and where it is compared."""

from __future__ import annotations

import json
from math import log, sqrt
from pathlib import Path

import pytest

from adapterworks.builders.data.load import take
from adapterworks.builders.data.recipes.bank_tickets import derive
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.evaluation import nearest as subject
from adapterworks.builders.evaluation.evaluate import evaluate_generators
from adapterworks.builders.evaluation.nearest import Space, nearest, nearest_answers
from adapterworks.builders.evaluation.needs import check_metrics
from adapterworks.cli.build import score_lines
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.load import load_manifest


def answers(train: list[Row], *questions: str) -> list[str]:
    given = nearest_answers(train, [chat(question, "?") for question in questions])
    return [one.text for one in given]


def test_the_most_similar_question_answers() -> None:
    train = [
        chat("信用卡丢了怎么办", "挂失"),
        chat("房贷利率是多少", "贷款"),
        chat("忘记密码", "登录"),
    ]
    asked = ("我的信用卡丢了", "房贷的利率", "密码忘记了怎么登录")
    assert answers(train, *asked) == ["挂失", "贷款", "登录"]


def test_case_and_spaces_say_nothing() -> None:
    train = [chat("reset my PASSWORD", "login"), chat("raise my limit", "limits")]
    assert answers(train, "Reset   my password", "RAISE MY\nLIMIT") == ["login", "limits"]


def test_the_first_of_equals_answers_and_a_stranger_gets_the_first() -> None:
    train = [chat("abc", "one"), chat("abc", "two"), chat("xyz", "three")]
    assert answers(train, "abc", "12345", "") == ["one", "one", "one"]


def test_what_every_question_has_weighs_less_than_what_one_has() -> None:
    train = [chat(f"please please please help with {what}", what) for what in ("fees", "cards")]
    train.append(chat("cards", "short"))
    assert answers(train, "please please please: fees") == ["fees"]


def test_the_cosine_is_the_one_of_the_book() -> None:
    """Pieces of "ab" and "b": `a`, `b`, `ab`. df: a 1, b 2, ab 1, of two questions."""
    space = Space(["ab", "b"])
    rare, common = log(3 / 2) + 1, log(3 / 3) + 1
    norm = sqrt(rare**2 + common**2 + rare**2)
    found = space.of(["ab", "b", "abb", "xyz"])
    known = sorted(found.toarray()[0].tolist())
    assert known == pytest.approx(sorted([rare / norm, common / norm, rare / norm]))
    twice = (1 + log(2)) * common
    norm = sqrt(rare**2 + twice**2 + rare**2)  # `bb`, `abb` are not known
    assert sorted(found.toarray()[2].tolist())[-1] == pytest.approx(twice / norm)
    assert found.toarray()[3].tolist() == [0, 0, 0]
    # "b" alone is closer to "b" (1) than to "ab" (common / norm), and "abb" the other way round.
    assert nearest(found[1:3], [found[:2]]).tolist() == [1, 0]


def test_training_rows_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parts are, the answers are the same; of equals in two parts, the first."""
    train = [chat(f"question {n % 7} of {n % 5}", f"{n}") for n in range(300)]
    train.insert(5, Row(text="a document"))
    asked = [f"question {n} of {n % 13}" for n in range(40)]
    whole = answers(train, *asked)
    sizes = []
    of = Space.of
    monkeypatch.setattr(Space, "of", lambda self, t: sizes.append(len(t)) or of(self, t))
    for size in (1, 7, 64):
        monkeypatch.setattr(subject, "_AT_ONCE", size)
        sizes.clear()
        assert answers(train, *asked) == whole
        assert max(sizes[1:]) == size
    monkeypatch.setattr(subject, "_LIKENESSES", 80)
    sizes.clear()
    assert answers(train, *asked) == whole
    assert max(sizes[1:]) == 2
    assert [int(one) for one in whole] == [
        min(n for n in range(300) if f"{train[n + (n >= 5)].question}" == said)
        for said in (train[int(one) + (int(one) >= 5)].question for one in whole)
    ]


def test_on_the_bank_s_messages_it_is_right_where_the_log_says() -> None:
    """0.60 to 0.67 by another program over the same rows (docs/log/demo-and-first-hour.md)."""
    splits = derive(None).splits
    train, test = take(splits["train"], 480), take(splits["test"], 200)
    given = nearest_answers(train, test)
    right = sum(one.text == row.answer for one, row in zip(given, test, strict=True))
    assert 0.55 <= right / 200 <= 0.72


def test_a_manifest_without_it_is_refused_a_gate_against_it() -> None:
    gate = 'evaluate.gates=[{ metric = "exact_match", against = "nearest" }]'
    with pytest.raises(InvalidInput, match="the nearest training row is not asked"):
        load_manifest("bank-tickets", overrides=('evaluate.baseline="none"', gate))
    loaded = load_manifest("bank-tickets", overrides=(gate,))
    assert loaded.evaluate.baseline == "nearest"


def test_a_metric_of_probabilities_is_refused() -> None:
    table = EvaluateTable(metrics=("exact_match", "perplexity"), baseline="nearest")
    with pytest.raises(InvalidInput, match="`perplexity` cannot be compared with it"):
        check_metrics(table)
    check_metrics(table.model_copy(update={"baseline": "none"}))
    with pytest.raises(InvalidInput, match="no training row has a question"):
        nearest_answers([], [chat("a", "b")])


class Parrot:
    """Gives one answer to everything."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def generate(self, prompts: list[object], **_: object) -> list[str]:
        self.cut = [False] * len(prompts)
        self.whole = [self.answer] * len(prompts)
        return self.whole


def test_it_is_compared_gated_and_told() -> None:
    train = [chat("card", "cards"), chat("loan", "loans")]
    rows = [chat("my card", "cards"), chat("your loan", "cards")] * 20
    table = EvaluateTable(
        baseline="nearest", gates=(QualityGate(metric="exact_match", against="nearest"),)
    )
    subjects = {"base": lambda: Parrot("no"), "candidate": lambda: Parrot("cards")}
    found = evaluate_generators(subjects, rows, table, train=train)  # type: ignore[arg-type]
    entry = found.report["metrics"]["exact_match"]
    assert entry["values"] == {"base": 0.0, "candidate": 1.0, "nearest": 0.5}
    assert entry["gains"]["nearest"]["gain"] == 0.5
    assert found.passed
    (why,) = [gate.why for gate in found.gates]
    assert "gain over nearest +50.0 points" in why
    (line,) = score_lines(found.report)
    assert "base 0.0 %, gain +100.0 points" in line
    assert "nearest training row 50.0 %, gain +50.0 points [" in line
    assert json.loads(found.predictions_jsonl().splitlines()[1])["answers"]["nearest"] == "loans"
    same = evaluate_generators(
        {"base": lambda: Parrot("no"), "candidate": lambda: Parrot("loans")},  # type: ignore[dict-item]
        rows,
        table,
        train=train,
    )
    assert not same.passed  # the search is right more often


def test_the_card_and_the_picture_show_it(tmp_path: Path) -> None:
    from adapterworks.builders.publishing.card import _scores
    from adapterworks.builders.publishing.plots import draw_scores

    train, rows = [chat("card", "cards")], [chat("a card", "cards"), chat("a loan", "loans")]
    table = EvaluateTable(baseline="nearest")
    subjects = {"base": lambda: Parrot("no"), "candidate": lambda: Parrot("cards")}
    report = evaluate_generators(subjects, rows, table, train=train).report  # type: ignore[arg-type]
    lines = _scores(report).splitlines()
    assert lines[2].startswith("| metric | base | nearest training row | adapter |")
    assert lines[4].startswith("| exact_match | 0.000 | 0.500 | 0.500 | +0.500 [")
    draw_scores(report["metrics"], tmp_path / "with.png")
    for entry in report["metrics"].values():
        del entry["values"]["nearest"], entry["gains"]["nearest"]
    assert _scores(report).splitlines()[2] == "| metric | base | adapter | gain |"
    draw_scores(report["metrics"], tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
