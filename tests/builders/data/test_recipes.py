"""Recipes: the counts that the pinned packages give, no leakage, the same rows every time."""

from __future__ import annotations

import ast
import functools
import json
from collections import Counter
from pathlib import Path

import pytest

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.recipes import (
    RECIPES,
    botocore_kb,
    botocore_passages,
    icd_10_cm,
    load_recipe,
    stdlib_ruff,
)
from adapterworks.builders.data.recipes.recipe import SPLITS, NearIndex
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput, NotFound

# Deriving one takes seconds: a thousand functions are mended by ruff, every pair of notes compared.
LONG = ("icd-10-cm-excludes1", "stdlib-ruff")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in sorted(RECIPES)
]


@functools.cache
def rows_of(name: str, cache: Path) -> dict[str, tuple[Row, ...]]:
    return {split: load_recipe(f"{name}:{split}", cache=cache)[0] for split in SPLITS}


@pytest.mark.parametrize(
    ("name", "counts"),
    [("icd-10-cm", (4978, 441, 730)), ("botocore-kb", (3951, 490, 735))],
)
def test_counts_of_the_pinned_packages(
    name: str, counts: tuple[int, int, int], cache: Path
) -> None:
    assert tuple(len(rows) for rows in rows_of(name, cache).values()) == counts


@pytest.mark.parametrize("name", NAMES)
def test_no_row_is_in_two_splits_or_twice(name: str, cache: Path) -> None:
    digests = [row.digest for rows in rows_of(name, cache).values() for row in rows]
    assert len(digests) > 300
    assert [d for d, count in Counter(digests).items() if count > 1] == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("icd-10-cm", "code"),
        ("botocore-kb", "resource"),
        pytest.param("stdlib-ruff", "file", marks=pytest.mark.slow),
    ],
)
def test_what_belongs_together_shares_a_split(name: str, key: str, cache: Path) -> None:
    seen: dict[tuple[str, str], set[str]] = {}
    for split, rows in rows_of(name, cache).items():
        for row in rows:
            group = (str(row.meta.get("service")), row.meta[key])
            seen.setdefault(group, set()).add(split)
    assert {group: splits for group, splits in seen.items() if len(splits) > 1} == {}


@pytest.mark.parametrize("name", ["icd-10-cm", "botocore-kb"])
def test_no_test_term_is_near_a_train_term_and_every_answer_is_learnable(
    name: str, cache: Path
) -> None:
    rows = rows_of(name, cache)
    index = NearIndex(row.meta["term"] for row in rows["train"])
    answers = {row.answer for row in rows["train"]}
    for row in (*rows["validation"], *rows["test"]):
        assert not index.has_near(row.meta["term"]), row
        assert row.answer in answers, row


def test_near_index_counts_tokens_not_order() -> None:
    index = NearIndex(["acute hepatitis b virus infection"])
    assert index.has_near("Infection, acute: hepatitis B virus")
    assert index.has_near("acute hepatitis b virus")  # 4 of 5
    assert not index.has_near("acute hepatitis b")  # 3 of 5


@pytest.mark.parametrize("name", NAMES)
def test_datasheet_says_source_version_licence_and_digests(name: str, cache: Path) -> None:
    rows, sheet = load_recipe(f"{name}:test", cache=cache)
    assert sheet.rows == len(rows)
    assert "==" in sheet.origin
    assert sheet.license
    assert all(digest.startswith("sha256:") for digest in (*sheet.files.values(), sheet.digest))
    assert json.loads(json.dumps(sheet.to_json()))["source"] == f"{name}:test"


@pytest.mark.parametrize("module", [icd_10_cm, botocore_kb])
def test_derivation_is_deterministic(module: object, cache: Path) -> None:
    recipe = module.RECIPE  # type: ignore[attr-defined]
    again = recipe.derive(None)
    for split in SPLITS:
        assert [r.digest for r in again.splits[split]] == [
            r.digest for r in load_recipe(f"{recipe.name}:{split}", cache=cache)[0]
        ]


def test_icd_row_looks_like_the_task(cache: Path) -> None:
    rows = [row for split in rows_of("icd-10-cm", cache).values() for row in split]
    row = next(row for row in rows if row.meta["term"] == "Amebic balanitis")
    assert row.question == "Give the ICD-10-CM category for: Amebic balanitis"
    assert row.answer == "A06 Amebiasis"
    assert not {row.meta["code"][0] for row in rows} & set("OSTVWXYZ")


def test_kb_tells_which_sentences_name_their_service() -> None:
    named = botocore_kb.names_service
    assert named("Creates a Security Hub insight.", "securityhub", "AWS SecurityHub")
    assert named("Deletes an EC2 fleet.", "ec2", "Amazon EC2")
    assert not named("Creates a fleet of computers.", "ec2", "Amazon EC2")
    assert botocore_kb.resource("DescribeVpcs") == botocore_kb.resource("CreateVpc") == "vpc"


LIBRARY = {
    "a.py": b"def f(x):\n    y = 1\n    return '%s' % (x,)\n\n\ndef g(x):\n    return x\n",
    "b.py": b"class C:\n    def f(x):\n        y = 1\n        return '%s' % (x,)\n",
    "bad.py": b"def f(:\n",
    "latin.py": b"# \xe9\ndef f(x):\n    y = 1\n    return x\n",
}


def test_stdlib_functions_are_dedented_and_unique_and_bad_files_are_left_out() -> None:
    functions = list(stdlib_ruff.short_functions(LIBRARY))
    assert [(f.file, f.name) for f in functions] == [("a.py", "f")]


def test_stdlib_fix_is_what_ruff_gives_and_parses() -> None:
    fixes = stdlib_ruff.fix_functions(list(stdlib_ruff.short_functions(LIBRARY)))
    assert [(fix.code, fix.name) for fix in fixes] == [("UP031", "printf-string-formatting")]
    assert '"{}".format(x)' in fixes[0].fixed or "'{}'.format(x)" in fixes[0].fixed


@pytest.mark.slow
def test_what_ruff_mends_is_another_program(cache: Path) -> None:
    rows = rows_of("stdlib-ruff", cache)
    assert sum(map(len, rows.values())) > 1000
    for row in rows["test"]:
        assert ast.dump(ast.parse(row.answer)) != ast.dump(ast.parse(row.meta["term"]))


def test_axolotl_341_cache_is_never_stale(tmp_path: Path) -> None:
    """The cache's key covers the library's bytes: a changed function is seen, an unchanged hits."""
    library = tmp_path / "lib"
    library.mkdir()
    for name, data in LIBRARY.items():
        (library / name).write_bytes(data)
    cache = tmp_path / "cache"
    first = stdlib_ruff.derive_from(library, cache)
    (stored,) = cache.iterdir()
    assert stdlib_ruff.derive_from(library, cache) == first
    assert [*cache.iterdir()] == [stored]
    (library / "a.py").write_bytes(LIBRARY["a.py"].replace(b"y = 1", b"y = 2"))
    (library / "b.py").unlink()
    second = stdlib_ruff.derive_from(library, cache)
    assert second.files != first.files
    assert [r.answer for rows in second.splits.values() for r in rows] != [
        r.answer for rows in first.splits.values() for r in rows
    ]
    assert len([*cache.iterdir()]) == 2


def test_unknown_recipe_and_split_are_named() -> None:
    with pytest.raises(NotFound, match="`icd-11`"):
        load_source("icd-11:train", "messages")
    with pytest.raises(InvalidInput, match="names no split"):
        load_source("icd-10-cm:dev", "messages")
    with pytest.raises(InvalidInput, match="not a source of rows"):
        load_source("rows.xls", "messages")


@pytest.mark.slow
def test_excludes1_pairs_have_the_right_category_before_the_one_that_is_ruled_out(
    cache: Path,
) -> None:
    """Real notes of the classification, and nothing that another adapter was trained on."""
    from adapterworks.builders.data.recipes import icd_10_cm, icd_10_cm_excludes1

    derived = icd_10_cm_excludes1.derive(cache)
    assert {name: len(rows) for name, rows in derived.splits.items()} == {
        "train": 2892,
        "validation": 256,
        "test": 502,
    }
    rows = {
        split: {row.meta["term"]: row for row in rows} for split, rows in derived.splits.items()
    }
    row = next(
        row for part in rows.values() for term, row in part.items() if term == "cysticercosis"
    )
    assert row.answer == "B69 Cysticercosis"
    assert row.kind == "comparison"
    for split, terms in rows.items():
        for other in rows.keys() - {split}:
            assert not terms.keys() & rows[other].keys()
    for row in (row for part in derived.splits.values() for row in part):
        better, worse = (answer[-1]["content"][:3] for answer in row.answers)
        assert better == row.meta["category"] != worse == row.meta["ruled_out"][:3]
    trained = {icd_10_cm.normalise(r.meta["term"]) for r in icd_10_cm.derive(cache).splits["train"]}
    assert not trained & {icd_10_cm.normalise(term) for term in rows["test"]}


def test_of_every_third_question_the_sentence_is_taken_out(cache: Path) -> None:
    """Nothing but the missing sentence tells them apart: as many sentences, of one service."""
    rows = [row for split in rows_of("botocore-passages", cache).values() for row in split]
    without = [row for row in rows if not row.meta["answerable"]]
    assert 0.28 < len(without) / len(rows) < 0.38
    for row in rows:
        question = row.prompt[-1]["content"]
        lines = [line for line in question.splitlines() if line.startswith("- ")]
        assert len(lines) == botocore_passages.SENTENCES
        named = [line for line in lines if line.startswith(f"- {row.meta['operation']}: ")]
        assert len(named) == row.meta["answerable"]
        assert not any(row.meta["term"] in line for line in lines) or row.meta["answerable"]
        said = row.meta["operation"] if row.meta["answerable"] else botocore_passages.ABSTENTION
        assert row.answer == said
    places = Counter(
        [
            line.split(":")[0][2:]
            for line in row.prompt[-1]["content"].splitlines()
            if line[:2] == "- "
        ].index(row.answer)
        for row in rows
        if row.meta["answerable"]
    )
    assert min(places.values()) > 0.1 * sum(places.values())
