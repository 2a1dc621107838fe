"""The suite notices when the code is wrong: twenty known defects, planted one at a time.

A guard against tests that were weakened. Which twenty is drawn by the digest of the tables and of
the tests that should notice, so that it is the same until one of them changes; `python -m
bench.mutants` plants all of them, and generated ones.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mutants.areas import PRELOAD
from bench.mutants.mutant import ROOT, Named
from bench.mutants.named import NAMED
from bench.mutants.tree import Tree
from bench.mutants.watch import BEFORE

DRAWN = 20


def drawn() -> list[Named]:
    """Twenty of those whose tests are quick: one of each of so many areas, and then of all."""
    areas = [[named for named in table if named.quick] for table in NAMED.values()]
    areas = [table for table in areas if table]
    quick = [named for table in areas for named in table]
    seed = os.environ.get("MUTANTS_SEED")
    if seed is None:
        files = {test.partition("::")[0] for named in quick for test in named.notices}
        hasher = hashlib.sha256(repr(quick).encode())
        for file in sorted(files):
            hasher.update((ROOT / file).read_bytes())
        seed = hasher.hexdigest()
    draw = random.Random(seed)
    chosen = [draw.choice(table) for table in draw.sample(areas, min(DRAWN, len(areas)))]
    others = [named for named in quick if named not in chosen]
    chosen += draw.sample(others, DRAWN - len(chosen))
    return sorted(chosen, key=quick.index)  # what is planted in one area follows one another


CHOSEN = drawn()


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """A copy of the tree."""
    with Tree() as copied:
        copied.preload(PRELOAD)
        yield copied


@pytest.fixture(scope="module")
def patience(tree: Tree) -> dict[str, float]:
    """Seconds after which a test is said to hang, by what each took on the code as it is.

    All that should notice pass there.
    """
    tests = sorted({test for named in CHOSEN for test in named.notices})
    clean = tree.run(tests, timeout=850, learn=True)
    assert clean.passed, clean.tail
    tree.preload(clean.answer["modules"])
    return {BEFORE: 30.0} | {test: 5 + 5 * took for test, took in clean.answer["tests"].items()}


@pytest.mark.parametrize("named", CHOSEN, ids=lambda named: named.name)
def test_a_known_defect_is_noticed(named: Named, tree: Tree, patience: dict[str, float]) -> None:
    with tree.mutated(named.edit(tree.root)):
        run = tree.run(named.notices, mutated=True, timeout=120, each=patience)
    assert not run.passed, f"nothing noticed in {named.notices}: {named.why}"
    assert run.imported, run.tail
    assert run.timeout or run.code == 1, run.tail


def test_an_unchanged_tree_passes_again_and_a_broken_one_fails(tree: Tree) -> None:
    """Neither a mutant that stays nor a copy that nobody imports would look like a kill."""
    # Not one of those drawn: its tests may run in processes of their own, which say less.
    (named,) = (one for one in NAMED["refs"] if one.name == "a-number-is-an-alias")
    assert tree.run(named.notices, mutated=True, timeout=600).passed
    with tree.replaced(named.file, b"raise RuntimeError('forced')\n"):
        forced = tree.run(named.notices, mutated=True, timeout=600)
    assert not forced.passed
    assert "forced" in forced.tail


def test_the_working_tree_is_not_touched(tree: Tree) -> None:
    named = CHOSEN[0]
    before = (ROOT / named.file).read_bytes()
    with tree.mutated(named.edit(tree.root)):
        assert (tree.root / named.file).read_bytes() != before
        assert (ROOT / named.file).read_bytes() == before
    assert (tree.root / named.file).read_bytes() == before


def test_a_mutant_that_hangs_is_ended(tree: Tree, tmp_path: Path) -> None:
    slow = tree.root / "tests" / "mutants" / "test_that_hangs.py"
    test = f"{slow.relative_to(tree.root)}::test_it"
    slow.write_text("import time\n\ndef test_it():\n    time.sleep(1000)\n")
    try:
        for limits in ({"each": {"": 300, test: 1}}, {"timeout": 1.0}):
            run = tree.run([str(slow.relative_to(tree.root))], mutated=True, **limits)
            assert run.timeout
            assert run.failed in (test, None)  # None: it had not begun
            assert run.seconds < 500
    finally:
        slow.unlink()
