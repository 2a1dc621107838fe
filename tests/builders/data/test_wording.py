"""Which texts count as the same, in labels and in gates: punctuation is forgiven, signs are not."""

from __future__ import annotations

import pytest

from adapterworks.builders.data.gates.report import Context
from adapterworks.builders.data.gates.run import GATES
from adapterworks.builders.data.gates.text import sealed_words
from adapterworks.builders.data.rows import chat
from adapterworks.builders.data.wording import alike, marks, words
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.labels import label

DIFFERENT = [
    ("C++", "C#"),
    ("+", "-"),
    ("-1", "1"),
    ("<5", ">5"),
    ("A+", "A-"),
    ("", "+"),
    ("", "★★★"),
    ("👍", "👎"),
    ("की", "का"),
    ("كَتَبَ", "كُتِبَ"),
    ("บ้า", "บา"),
    (".5", "5"),
    ("5²", "52"),
    ("5 %", "5"),
    ("$5", "€5"),
    ("a <= b", "a >= b"),
    ("a + b", "a - b"),
    ("rising ↑", "rising ↓"),
    ("−5", "5"),
]
ALIKE = [
    ("Yes.", "yes"),
    ("**Yes**", "yes"),
    ("- yes", "Yes"),
    ("> yes", "yes"),
    ("p < 0.05", "p<0.05"),
    ("$5$", "5"),
    ("5 %", "5%"),
    ("follow-up", "follow up"),
    ("yes--because", "yes because"),
    ('"R50.9"', "R50.9"),
    ("Ｙｅｓ", "yes"),
    ("−5", "-5"),
    ("👍 good", "good"),
    ("`A-`", "a-"),
    ("cafe\u0301", "caf\u00e9"),
    ("高血压。", "高血压"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_answers_that_differ_are_no_one_label(one: str, other: str) -> None:
    assert alike(one) != alike(other)
    assert metric("accuracy").score(one, chat("q", other)) == 0.0
    assert metric("accuracy").score(other, chat("q", one)) == 0.0
    assert metric("macro_f1").score(one, chat("q", other)) == 0.0
    rows = {"train": [chat("q", one), chat("q", other)]}
    assert GATES.named("contradictions").check(rows, 0.0, Context()).measured == 1.0


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_answers_that_differ_in_case_and_punctuation_are_one_label(one: str, other: str) -> None:
    assert alike(one) == alike(other)
    assert metric("accuracy").score(one, chat("q", other)) == 1.0
    rows = {"train": [chat("q", one), chat("q", other)]}
    assert GATES.named("contradictions").check(rows, 0.0, Context()).measured == 0.0


def test_a_label_is_the_first_line() -> None:
    assert label("\n R50.9\nFever") == label("r50.9") == "r50 9"
    assert label("") == label(" \n") == ""


def test_overlap_keeps_words_of_scripts_with_marks() -> None:
    for one, other in (("की", "का"), ("कमल", "कमला"), ("தமிழ்", "தமழ")):
        assert metric("rouge_l").score(one, chat("q", other)) == 0.0
        assert metric("rouge_l").score(one, chat("q", one)) == 1.0
    # On ASCII it is rouge-score's, which reads letters and digits alone.
    assert metric("rouge_l").score("C++", chat("q", "C#")) == 1.0


@pytest.mark.parametrize(
    ("text", "reference", "other"),
    [
        ("これはペンです", "これはペンでした", "あの猫"),
        ("한국어를 배웁니다", "한국어를 배워요", "저 고양이"),
        ("ฉันรักภาษาไทย", "ฉันรักเมืองไทย", "แมว"),
        ("我喜欢学习中文", "我喜欢学中文", "他在家"),
    ],
)
def test_bleu_of_scripts_without_spaces_is_by_characters(
    text: str, reference: str, other: str
) -> None:
    """A sentence that was one token had nothing in common with one that ends otherwise."""
    bleu = metric("bleu")
    assert bleu.score(reference, chat("q", reference)) == pytest.approx(1.0)
    assert 0.2 < bleu.score(text, chat("q", reference)) < 1.0
    assert bleu.score(other, chat("q", reference)) < 0.2


def test_bleu_of_ideographs_is_sacrebleus_own() -> None:
    from sacrebleu.metrics import BLEU

    text, reference = "我喜欢学习中文，很难！", "我喜欢学中文，不难。"
    own = BLEU(tokenize="zh", effective_order=True).sentence_score(text, [reference]).score / 100
    assert metric("bleu").score(text, chat("q", reference)) == pytest.approx(own)


def test_seals_keep_the_words_they_were_made_of() -> None:
    """A sealed test set that no longer knew its own questions would be no secret kept."""
    assert sealed_words("की Größe cm²") == ["क", "grösse", "cm2"]
    assert words("की Größe cm²") == ["की", "grösse", "cm²"]


def test_every_mark_of_unicode_is_one() -> None:
    import re
    import sys
    import unicodedata

    found = re.compile(f"[{marks()}]")
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [c for c in every if (unicodedata.category(c)[0] == "M") != bool(found.match(c))] == []
