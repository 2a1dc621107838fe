"""Which rows are where: by content alone, whatever the order, the seed or what else is there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.assemble import (
    assemble,
    needs_tokenizer,
    rows_of_build,
    rows_to_evaluate,
)
from adapterworks.builders.data.gather import gather
from adapterworks.builders.data.load import load_rows, load_source, split_off, take, with_system
from adapterworks.builders.data.mix import by_hash, choose, replay, sample
from adapterworks.builders.data.recipes.recipe import NearIndex, hash_split, package_folder
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest

ROWS = [chat(f"Where does item {i} belong?", f"Shelf {i % 7}") for i in range(40)]


def hexadecimal(row: Row) -> int:
    return int(row.digest.removeprefix("sha256:"), 16)


def test_a_row_is_held_out_if_its_digest_is_below_the_share() -> None:
    """The digest as a number of 0 to 1: below 0.2, the row is validation's."""
    kept, held_out = split_off(ROWS, 0.2)
    expected = [row for row in ROWS if hexadecimal(row) / 2**256 < 0.2]
    assert [*held_out] == expected
    assert [*kept] == [row for row in ROWS if row not in expected]
    assert 2 <= len(held_out) <= 14


def test_what_is_held_out_twice_is_held_out_of_the_rest_both_times(tmp_path: Path) -> None:
    """By digits of its own: else the first time would take all that the second would."""
    lines = [{"prompt": f"Where is {i}?", "completion": f"Shelf {i % 7}"} for i in range(400)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    manifest = Manifest.model_validate(
        {
            "adapter": {"name": "shelves"},
            "base": {"model": "smollm2-135m-instruct"},
            "method": {"kind": "lora"},
            "data": {
                "train": "rows.jsonl",
                "format": "prompt-completion",
                "test_share": 0.25,
                "validation_share": 0.2,
                "limit_test": 60,
            },
        }
    ).placed_in(tmp_path)
    splits = load_rows(manifest)
    unlimited = manifest.data.model_copy(update={"limit_test": None})
    wanted = load_rows(manifest.model_copy(update={"data": unlimited}).placed_in(tmp_path)).test
    rows = [*wanted, *splits.validation, *splits.train]
    assert len({row.digest for row in rows}) == len(rows) == 400
    below = {row.digest for row in rows if int(row.digest[7:][16:32], 16) < 2**62}
    assert {row.digest for row in wanted} == below
    assert len(splits.test) == 60
    assert {row.digest for row in splits.test} < below
    # 300 are left, a fifth of them is 60: four standard deviations are 28.
    assert 32 <= len(splits.validation) <= 88


def test_rows_that_come_or_go_move_no_other() -> None:
    _, before = split_off(ROWS, 0.3)
    _, after = split_off([chat("new", "row"), *ROWS[::-1][:30]], 0.3)
    assert {row.digest for row in before} & {row.digest for row in ROWS[10:]} == {
        row.digest for row in after if row in ROWS
    }
    _, smaller = split_off(ROWS, 0.1)
    assert {row.digest for row in smaller} <= {row.digest for row in before}
    assert split_off(ROWS, 0.0) == (tuple(ROWS), ())
    assert split_off(ROWS, 1.0) == ((), tuple(ROWS))


def test_a_limit_takes_the_smallest_digests_in_the_rows_order() -> None:
    smallest = sorted(ROWS, key=hexadecimal)[:3]
    assert [*take(ROWS, 3)] == [row for row in ROWS if row in smallest]
    assert take(ROWS, None) == take(ROWS, 40) == take(ROWS, 41) == tuple(ROWS)
    assert len(take(ROWS, 39)) == 39
    assert take([ROWS[0]] * 5, 2) == (ROWS[0],) * 2


def test_a_system_message_is_put_where_none_is_and_text_has_none() -> None:
    own = Row(({"role": "system", "content": "own"}, *ROWS[0].messages))
    with_it = with_system([ROWS[0], own, Row(text="t")], "given")
    assert [turn["content"] for turn in with_it[0].messages[:2]] == ["given", ROWS[0].question]
    assert with_it[1:] == (own, Row(text="t"))
    assert with_system(ROWS, None) == tuple(ROWS)


def test_the_order_that_samples_are_taken_in_is_that_of_a_hash_of_seed_and_digest() -> None:
    def key(row: Row) -> bytes:
        return hashlib.sha256(f"7:{row.digest}".encode()).digest()

    assert by_hash(ROWS, 7) == sorted(ROWS, key=key)
    chosen = sorted(ROWS, key=key)[:5]
    assert [*choose(ROWS, 5, 7)] == [row for row in ROWS if row in chosen]


def test_weights_by_hand() -> None:
    ten = ROWS[:10]
    assert sample(ten, 1.0, 1) == tuple(ten)
    assert sample(ten, 2.0, 1) == (*ten, *ten)
    half = choose(ten, 5, 1)
    assert sample(ten, 0.5, 1) == half
    assert sample(ten, 2.5, 1) == (*ten, *ten, *half)
    assert choose(ten, 23, 1) == (*ten, *ten, *choose(ten, 3, 1))
    assert choose([], 3, 1) == ()
    general = [Row(text=f"t{i}") for i in range(30)]
    assert len(replay(ROWS, general, 0.25, 1)) == 10
    assert replay(ROWS, general, 0.0, 1) == []


TWO = [chat("q", "a"), chat("r", "b")]


def write(folder: Path, name: str, rows: list[Row]) -> None:
    lines = [json.dumps({"messages": [*row.messages]}) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")


MANIFEST = """\
[adapter]
name = "m"
[base]
model = "b"
[method]
kind = "lora"
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "train.jsonl", ROWS)
    write(tmp_path, "validation.jsonl", [chat(f"v{i}", "a") for i in range(6)])
    write(tmp_path, "test.jsonl", [chat(f"t{i}", "a") for i in range(4)])
    return tmp_path


def manifest(folder: Path, more: str = "", *overrides: str) -> Manifest:
    path = folder / "m.toml"
    path.write_text(MANIFEST + more)
    return load_manifest(path, overrides=overrides)


def questions(rows: Any) -> list[str]:
    return [row.question for row in rows]


def test_splits_are_those_that_the_manifest_names(folder: Path) -> None:
    """Where validation rows are named, no training row is held out."""
    splits = load_rows(manifest(folder))
    assert questions(splits.train) == questions(ROWS)
    assert questions(splits.validation) == [f"v{i}" for i in range(6)]
    assert questions(splits.test) == [f"t{i}" for i in range(4)]
    assert [sheet.source for sheet in splits.datasheets] == [
        "test.jsonl", "validation.jsonl", "train.jsonl",
    ]  # fmt: skip
    assert [sheet.rows for sheet in splits.datasheets] == [4, 6, 40]
    assert splits.train[2].meta == {"row": 3, "source": "train.jsonl"}


def test_each_split_has_a_limit_of_its_own(folder: Path) -> None:
    splits = load_rows(
        manifest(folder, "limit = 9\nlimit_validation = 3\nlimit_test = 2\nsystem = 's'\n")
    )
    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [9, 3, 2]
    for rows in (splits.train, splits.validation, splits.test):
        assert {row.messages[0]["content"] for row in rows} == {"s"}
    # Rows are limited as they are trained on: with their system message.
    whole = with_system(load_source(str(folder / "train.jsonl"), "messages").rows, "s")
    assert questions(splits.train) == questions(take(whole, 9))


def test_a_limit_counts_what_is_left_when_validation_is_held_out(folder: Path) -> None:
    text = MANIFEST.replace('validation = "validation.jsonl"\n', "")
    (folder / "m.toml").write_text(text + "validation_share = 0.3\nlimit = 5\n")
    splits = load_rows(load_manifest(folder / "m.toml"))
    _, held_out = split_off(ROWS, 0.3)
    assert questions(splits.validation) == questions(held_out)
    assert len(splits.train) == 5


MIX = """\
[[data.mix]]
source = "more.jsonl"
weight = 0.5
[[data.mix]]
source = "prose.jsonl"
format = "text"
weight = 2.0
"""


@pytest.fixture
def mixed(folder: Path) -> Path:
    write(folder, "more.jsonl", [chat(f"What is {i} plus {i}?", str(2 * i)) for i in range(10)])
    prose = [json.dumps({"text": f"Paragraph {i} of quite another kind."}) for i in range(3)]
    (folder / "prose.jsonl").write_text("\n".join(prose))
    return folder


def test_further_sources_come_behind_in_order_each_with_its_weight(mixed: Path) -> None:
    made = manifest(mixed, "system = 's'\n" + MIX)
    gathered = gather(made)
    assert len(gathered.train) == 40 + 10 + 3
    assert [sheet.source for sheet in gathered.datasheets][3:] == ["more.jsonl", "prose.jsonl"]
    train = assemble(made).splits.train
    assert questions(train[:40]) == questions(ROWS)
    chosen = [row for row in gathered.train if row.meta.get("mix") == 0]
    assert questions(train[40:45]) == questions(sample(chosen, 0.5, 42))
    assert [row.messages[0]["content"] for row in train[40:45]] == ["s"] * 5
    texts = [f"Paragraph {i} of quite another kind." for i in range(3)]
    assert [row.text for row in train[45:]] == texts * 2


def test_copies_and_replay_are_in_training_alone(mixed: Path) -> None:
    more = (
        '[data.replay]\nsource = "prose.jsonl"\nformat = "text"\nshare = 0.1\n'
        '[data.augment]\nshare = 0.25\nparaphrase_templates = ["Please: {prompt}"]\n'
    )
    before = load_rows(manifest(mixed))
    splits = assemble(manifest(mixed, more)).splits
    copies = [row for row in splits.train if row.meta.get("augmented")]
    replayed = [row for row in splits.train if row.meta.get("replay")]
    # A quarter of 40; of the 50 that there are then, a tenth.
    assert (len(copies), len(replayed), len(splits.train)) == (10, 5, 55)
    assert splits.train[50:] == tuple(replayed)
    assert (splits.validation, splits.test) == (before.validation, before.test)
    assert all(row.meta["source"] == "prose.jsonl" for row in replayed)


def test_rows_of_a_build_are_those_that_are_assembled(mixed: Path) -> None:
    """Whatever else the gates say: what they drop is left out, and nothing is judged twice."""
    write(mixed, "more.jsonl", [*TWO, *TWO, chat("q", "another")])
    made = manifest(mixed, MIX, 'data.gates.contradictions.action="drop"')
    built = assemble(made)
    assert rows_of_build(made).digest == built.splits.digest
    assert rows_to_evaluate(made, base=Path("not asked for")).test == built.splits.test
    assert built.gates.dropped > 0
    failing = manifest(mixed, MIX, 'data.gates.contradictions.action="fail"')
    with pytest.raises(Refused):
        assemble(failing)
    assert len(rows_of_build(failing).train) > 40


def test_the_tokenizer_is_asked_for_only_by_a_gate_that_drops_by_it(folder: Path) -> None:
    assert not needs_tokenizer(manifest(folder))
    dropping = 'data.gates.truncated_supervision.action="drop"'
    assert needs_tokenizer(manifest(folder, "", dropping))
    off = "data.gates.truncated_supervision.on=false"
    assert not needs_tokenizer(manifest(folder, "", dropping, off))


def test_rows_that_lose_their_answers_end_are_dropped_by_the_bases_tokens(
    folder: Path, tiny: Path
) -> None:
    """Byte tokens: of 64, an answer of 60 letters loses some; an empty one loses nothing."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    write(folder, "train.jsonl", [chat("q", "a"), chat("long", "x" * 60), chat("none", "")])
    made = manifest(
        folder,
        "",
        'data.gates.truncated_supervision.action="drop"',
        'data.gates.empty_supervision.action="warn"',
        "train.max_length=64",
    )
    splits = rows_of_build(made, tokenizer=tokenizer)
    assert questions(splits.train) == ["q", "none"]
    (report,) = [
        report
        for report in assemble(made, tokenizer=tokenizer).gates.reports
        if report.name == "truncated_supervision"
    ]
    # 16 tokens are kept for the prompt; of the answer's 61, 48 fit.
    assert [(o.split, o.row, o.reason) for o in report.rows] == [
        ("train", 2, "13 answer tokens are cut off")
    ]
    assert report.measured == 1.0
    without = assemble(made).gates.reports
    (unmeasured,) = [report for report in without if report.name == "truncated_supervision"]
    assert (unmeasured.measured, unmeasured.rows) == (None, ())


def test_a_source_of_no_rows_is_refused(folder: Path) -> None:
    (folder / "train.jsonl").write_text("\n")
    with pytest.raises(InvalidInput, match=r"`train\.jsonl` has no rows"):
        load_rows(manifest(folder))


@pytest.mark.parametrize(("test", "validation"), [(10, 20), (0, 0), (100, 0), (0, 100)])
def test_a_recipes_splits_are_shares_of_a_hash(test: int, validation: int) -> None:
    for key in map(str, range(200)):
        bucket = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
        expected = (
            "test" if bucket < test else "validation" if bucket < test + validation else "train"
        )
        assert hash_split(key, test=test, validation=validation) == expected


def test_near_texts_share_four_fifths_of_their_words() -> None:
    index = NearIndex(["a b c d e", "x"])
    assert index.has_near("e d c b a")
    assert index.has_near("a b c d")  # 4 of 5
    assert not index.has_near("a b c d f")  # 4 of 6
    assert index.has_near("a b c d e f")  # 5 of 6
    assert not index.has_near("a b c")
    assert index.has_near("X!")
    assert not NearIndex([]).has_near("a")
    assert not index.has_near("")


def test_a_package_that_is_not_installed_is_named() -> None:
    folder, origin = package_folder("pytest", "pytest")
    assert (folder / "__init__.py").exists()
    assert origin == f"pytest=={pytest.__version__}"
    with pytest.raises(NotFound, match="package `acme-none`, which this recipe reads"):
        package_folder("acme_none", "acme-none")


def test_rows_that_do_not_fit_are_cut_left_out_or_refused(folder: Path, tiny: Path) -> None:
    """Byte tokens: of 64, one row loses some of its answer, another some of its question."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    write(folder, "train.jsonl", [chat("q", "a"), chat("long", "x" * 60), chat("y" * 60, "b")])
    length = "train.max_length=64"
    cut = manifest(folder, "", length)
    assert not needs_tokenizer(cut)
    assembled = assemble(cut, tokenizer=tokenizer)
    assert len(assembled.splits.train) == 3
    counted = {report.name: [o.row for o in report.rows] for report in assembled.gates.reports}
    assert (counted["truncated_supervision"], counted["truncated_prompts"]) == ([2], [2, 3])
    dropping = manifest(folder, "", length, 'train.on_overflow="drop"')
    assert needs_tokenizer(dropping)
    for splits in (
        assemble(dropping, tokenizer=tokenizer).splits,
        rows_of_build(dropping, tokenizer=tokenizer),
    ):
        assert questions(splits.train) == ["q"]
    failing = manifest(folder, "", length, 'train.on_overflow="fail"')
    with pytest.raises(Refused, match=r"`truncated_supervision` refuses 1 row"):
        assemble(failing, tokenizer=tokenizer)
    assert len(rows_of_build(failing, tokenizer=tokenizer).train) == 3
