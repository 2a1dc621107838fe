"""Sampling, replay and augmentation: exact counts, no change of answers, the same every time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from adapterworks.builders.data.assemble import assemble, rows_to_evaluate
from adapterworks.builders.data.augment import Lexicon, augment, read_lexicon
from adapterworks.builders.data.mix import choose, replay, sample
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.wording import alike
from adapterworks.manifests.data_tables import AugmentTable
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.bases.base import Base

NO_BASE = Path("its tokenizer is not asked for")
ROWS = [chat(f"Where does item {i} belong?", f"Shelf {i % 7}") for i in range(40)]


@given(st.floats(0.01, 4.0), st.integers(0, 2**32 - 1))
def test_a_weight_is_how_often_each_row_is_taken(weight: float, seed: int) -> None:
    taken = sample(ROWS, weight, seed)
    assert abs(len(taken) - weight * len(ROWS)) <= 0.5 + 1e-9
    counts = Counter(row.digest for row in taken)
    times = [counts[row.digest] for row in ROWS]
    assert max(times) - min(times) <= 1
    assert sample(ROWS, weight, seed) == taken


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_smaller_choice_is_part_of_a_larger_one_in_order(one: int, other: int) -> None:
    small, large = (choose(ROWS, count, 1) for count in sorted((one, other)))
    assert {row.digest for row in small} <= {row.digest for row in large}
    positions = [ROWS.index(row) for row in large]
    assert positions == sorted(positions)


def test_the_seed_matters() -> None:
    assert choose(ROWS, 10, 1) != choose(ROWS, 10, 2)


def test_replay_is_a_share_of_the_training_rows() -> None:
    general = [Row(text=f"Paragraph number {i}.") for i in range(3)]
    rows = replay(ROWS, general, 0.1, 42)
    assert len(rows) == 4
    assert {row.text for row in rows} == {row.text for row in general}
    assert all(row.meta["replay"] for row in rows)
    assert replay(ROWS, [], 0.1, 42) == []


def test_paraphrases_change_the_question_only() -> None:
    table = AugmentTable(
        paraphrase_templates=("Tell me: {prompt}", "{prompt} Be brief."), share=0.5
    )
    copies = augment(ROWS, table, 42)
    assert len(copies) == 20
    assert copies == augment(ROWS, table, 42)
    assert {row.answer for row in copies} <= {row.answer for row in ROWS}
    originals = {row.question: row for row in ROWS}
    for copy in copies:
        question = copy.question.removeprefix("Tell me: ").removesuffix(" Be brief.")
        assert originals[question].answer == copy.answer
    assert {copy.question[:4] for copy in copies} == {"Tell", "Wher"}


def test_a_paraphrase_is_of_the_last_question() -> None:
    """What was said before it stays as it was, and so does the row."""
    row = Row((*chat("first?", "one").messages, *chat("second?", "two").messages))
    (copy,) = augment([row], AugmentTable(paraphrase_templates=("Well: {prompt}",), share=1.0), 1)
    assert [turn["content"] for turn in copy.messages] == ["first?", "one", "Well: second?", "two"]
    assert copy.meta["augmented"]
    assert row.messages[2]["content"] == "second?"
    # A row that is there already is no copy.
    there = [row, Row(copy.messages)]
    assert (
        len(augment(there, AugmentTable(paraphrase_templates=("Well: {prompt}",), share=1.0), 1))
        == 1
    )


def test_templates_take_turns_and_a_share_is_rounded() -> None:
    table = AugmentTable(paraphrase_templates=("1 {prompt}", "2 {prompt}", "3 {prompt}"), share=0.1)
    assert [copy.question[:2] for copy in augment(ROWS, table, 1)] == ["1 ", "2 ", "3 ", "1 "]
    assert len(augment(ROWS[:25], table, 1)) == 2  # 2.5 is rounded to the even
    assert augment(ROWS, AugmentTable(), 1) == []
    text = [Row(text="t")] * 4
    assert augment(text, table.model_copy(update={"share": 1.0}), 1) == [], "texts have no question"


def test_a_synonym_is_chosen_by_row_and_word_and_keeps_its_capital() -> None:
    lexicon = Lexicon((("big", "large", "huge"),))
    chosen = {lexicon.substitute("a big one", str(key)) for key in range(30)}
    assert chosen == {"a large one", "a huge one"}
    assert lexicon.substitute("a big one", "7") == lexicon.substitute("a big one", "7")
    assert {lexicon.substitute("Big", str(key)) for key in range(30)} == {"Large", "Huge"}
    longest_first = Lexicon((("heart attack", "heart", "coronary"),))
    assert "attack" not in longest_first.substitute("my heart attack", "1").replace(
        "heart attack", ""
    )


def test_synonyms_are_whole_words_of_either_language() -> None:
    lexicon = Lexicon((("heart attack", "myocardial infarction"), ("高血压", "血压高")))
    assert lexicon.substitute("Heart attack, old", "k") == "Myocardial infarction, old"
    assert lexicon.substitute("heart attacks", "k") == "heart attacks"
    assert lexicon.substitute("病人有高血压三年", "k") == "病人有血压高三年"
    assert lexicon.substitute("nothing here", "k") == "nothing here"


def test_a_row_that_is_there_twice_gives_one_copy_and_its_place_goes_to_another() -> None:
    table = AugmentTable(paraphrase_templates=("Well: {prompt}",), share=0.5)
    twice = [ROWS[0], ROWS[0], ROWS[1], ROWS[1]]
    copies = augment(twice, table, 1)
    assert {copy.question for copy in copies} == {f"Well: {row.question}" for row in ROWS[:2]}
    assert len(copies) == 2


def test_rows_that_cannot_be_augmented_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("item,article,thing\n", encoding="utf-8")
    rows = [*ROWS[:3], chat("Nothing to replace?", "No"), Row(text="plain item")]
    copies = augment(rows, AugmentTable(lexicon=str(path), share=1.0), 42)
    assert len(copies) == 3
    assert all("article" in row.question or "thing" in row.question for row in copies)


def test_lexicons_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"a": ["b", "c"]}))
    assert read_lexicon(path) == Lexicon((("a", "b", "c"),))
    path.write_text('[["a", "b"]]')
    assert read_lexicon(path) == Lexicon((("a", "b"),))
    table = tmp_path / "words.csv"
    table.write_text("a, b ,\n , \n\nc,d\n")  # cells of a spreadsheet whose rows differ in length
    assert read_lexicon(table) == Lexicon((("a", "b"), ("c", "d")))
    for broken in ('[["a"]]', '[["a", 1]]', "{", '{"a": "b"}', "3", '[["a", ""]]'):
        path.write_text(broken)
        with pytest.raises(InvalidInput):
            read_lexicon(path)
    with pytest.raises(NotFound):
        read_lexicon(tmp_path / "none.json")


def test_a_manifest_with_mix_augment_and_replay(tmp_path: Path) -> None:
    def write(name: str, rows: list[tuple[str, str]]) -> None:
        lines = [json.dumps({"prompt": q, "completion": a}) for q, a in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    write("train.jsonl", [(row.question, row.answer) for row in ROWS])
    write("more.jsonl", [(f"What is {i} plus {i}?", str(2 * i)) for i in range(10)] * 2)
    write("test.jsonl", [("A question of another kind", "x")])
    prose = "\n".join(json.dumps({"text": f"Prose {i} goes on and on."}) for i in range(30))
    (tmp_path / "prose.jsonl").write_text(prose)
    path = tmp_path / "m.toml"
    path.write_text(
        '[adapter]\nname = "m"\n[base]\nmodel = "b"\n[method]\nkind = "lora"\n'
        '[data]\ntrain = "train.jsonl"\nvalidation = "test.jsonl"\ntest = "test.jsonl"\n'
        'format = "prompt-completion"\n[[data.mix]]\nsource = "more.jsonl"\nweight = 2.5\n'
        '[data.replay]\nsource = "prose.jsonl"\nshare = 0.2\nformat = "text"\n'
        '[data.augment]\nshare = 0.5\nparaphrase_templates = ["Please: {prompt}"]\n'
    )
    assembled = assemble(load_manifest(path))
    train = assembled.splits.train
    own = [row for row in train if row.meta.get("source", "").endswith("train.jsonl")]
    mixed = [row for row in train if row.meta.get("source", "").endswith("more.jsonl")]
    replayed = [row for row in train if row.meta.get("replay")]
    # The 10 repetitions within more.jsonl are dropped by a gate; then 10 × 2.5, then half of all.
    assert assembled.gates.dropped == 10
    augmented = [row for row in train if row.meta.get("augmented")]
    assert len(augmented) == round(0.5 * (40 + 25))
    assert len(own) + len(mixed) == 40 + 25 + len(augmented)
    assert len(replayed) == round(0.2 * (len(own) + len(mixed)))
    assert [sheet.source.rpartition("/")[2] for sheet in assembled.splits.datasheets] == [
        "test.jsonl", "test.jsonl", "train.jsonl", "more.jsonl", "prose.jsonl",
    ]  # fmt: skip
    again = assemble(load_manifest(path)).splits
    assert again.digest == assembled.splits.digest
    other = assemble(load_manifest(path, overrides=["train.seed=7"])).splits
    assert other.digest != again.digest


def test_an_evaluation_has_the_builds_test_rows(tmp_path: Path) -> None:
    """A dropped leak stays out; a gate that would refuse a training does not refuse a score."""
    train = [chat(f"Where in the store room does item number {i} belong?", "A7") for i in range(20)]
    leaked, new = train[3], chat("Which key opens the cold room behind the kitchen door?", "B2")
    for split, rows in (("train", train), ("test", [leaked, new])):
        lines = [json.dumps({"messages": [*row.messages]}) for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    path = tmp_path / "leak.toml"
    path.write_text(
        '[adapter]\nname = "leak"\n[base]\nmodel = "smollm2-135m-instruct"\n'
        '[method]\nkind = "lora"\n[data]\ntrain = "train.jsonl"\ntest = "test.jsonl"\n'
        'gates.contamination.action = "drop"\n'
    )
    manifest = load_manifest(path)
    built = assemble(manifest).splits.test
    assert [row.question for row in built] == [new.question]
    assert rows_to_evaluate(manifest, base=NO_BASE).test == built
    strict = load_manifest(path, overrides=['data.gates.class_balance.action="fail"'])
    with pytest.raises(Refused):
        assemble(strict)
    assert rows_to_evaluate(strict, base=NO_BASE).test == built


def test_every_source_of_a_mix_is_read_under_the_same_columns(tmp_path: Path) -> None:
    """`data.columns` is for all sources of its format; a source may have its own, and a limit."""

    def write(name: str, question: str, answer: str) -> None:
        rows = [{question: f"{name} q{i}", answer: f"{name} a{i}"} for i in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("own", "question", "answer")
    write("same", "question", "answer")
    write("other", "asked", "said")
    write("general", "question", "answer")
    (tmp_path / "m.toml").write_text(
        """
[adapter]
name = "mixed"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "own.jsonl"
validation = "own.jsonl"
format = "prompt-completion"
columns = { prompt = "question", completion = "answer" }
[[data.mix]]
source = "same.jsonl"
[[data.mix]]
source = "other.jsonl"
columns = { prompt = "asked", completion = "said" }
limit = 2
[data.replay]
source = "general.jsonl"
share = 0.1
"""
    )
    train = assemble(load_manifest(tmp_path / "m.toml")).splits.train
    counts = Counter(row.answer.split()[0] for row in train)
    assert counts == {"own": 4, "same": 4, "other": 2, "general": 1}
    with pytest.raises(InvalidInput, match="has no column `answer`"):
        load_manifest(
            tmp_path / "m.toml", overrides=['data.mix=[{source="a.csv",columns={answer="x"}}]']
        )


def test_groups_of_a_lexicon_do_not_chain() -> None:
    """`MI` became `heart attack` and that `panic`: another question with the old answer."""
    lexicon = Lexicon((("MI", "heart attack"), ("heart attack", "panic")))
    assert lexicon.substitute("MI?", "key") == "Heart attack?"
    assert lexicon.substitute("a heart attack", "key") == "a MI"
    assert lexicon.substitute("a panic", "key") == "a heart attack"
    assert Lexicon(()).substitute("as it is", "key") == "as it is"


def test_words_that_differ_in_case_alone_are_no_group(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("HTN,htn\n")
    with pytest.raises(InvalidInput, match="is not a lexicon of groups of synonyms"):
        read_lexicon(path)


def test_no_copy_asks_what_a_held_out_row_asks() -> None:
    rows = [chat("Is it big?", "yes"), chat("Is it red?", "no")]
    table = AugmentTable(paraphrase_templates=("Please: {prompt}",), share=1.0)
    held = {alike("please is it BIG")}
    assert [c.question for c in augment(rows, table, 1, held=held)] == ["Please: Is it red?"]
    assert len(augment(rows, table, 1)) == 2


def test_an_evaluation_drops_by_the_bases_tokens_as_the_build_did(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, base: Base
) -> None:
    """Scores of one release were of other rows than its report, and its tests were for ever
    another's to whoever continued it."""
    rows = [chat("Which key?", "B2"), chat("What is <|im_end|>?", "A token"), chat("Who?", "Ann")]
    for split in ("train", "test"):
        lines = [json.dumps({"messages": [*row.messages]}) for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    path = tmp_path / "tokens.toml"
    path.write_text(
        '[adapter]\nname = "tokens"\n[base]\nmodel = "smollm2-135m-instruct"\n'
        '[method]\nkind = "lora"\n[data]\ntrain = "train.jsonl"\ntest = "test.jsonl"\n'
        'gates.control_tokens.action = "drop"\ngates.contamination.on = false\n'
    )
    manifest = load_manifest(path)
    built = assemble(manifest, tokenizer=tokenizer).splits.test
    assert [row.answer for row in built] == ["B2", "Ann"]
    assert rows_to_evaluate(manifest, base=base.checkpoint).test == built
