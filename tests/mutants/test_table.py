"""The tables of mutants say something about the code as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from bench.mutants.areas import AREAS
from bench.mutants.kept import KEPT, candidates, read_kept, stale
from bench.mutants.mutant import ROOT, Named, TableFault
from bench.mutants.named import NAMED

ALL = [named for table in NAMED.values() for named in table]


@cache
def source(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def faults(named: Named) -> Iterator[str]:
    """What is wrong with an entry."""
    try:
        named.edit()
    except TableFault as fault:
        yield str(fault)
    if not named.notices or not named.why:
        yield f"`{named.name}`: nothing is to notice it, or nobody says why"
    for test in named.notices:
        file, _, function = test.partition("::")
        if function and f"def {function.partition('[')[0]}(" not in source(file):
            yield f"`{named.name}`: there is no `{test}`"


@pytest.mark.parametrize("area", NAMED)
def test_named_mutants_change_the_code_and_name_tests_that_are_there(area: str) -> None:
    """All of an area in one test: there are more entries than files in the suite."""
    assert [fault for named in NAMED[area] for fault in faults(named)] == []


def test_entries_that_are_at_fault_are_found() -> None:
    gone = Named(
        "n",
        "manifests/refs.py",
        "no such text",
        "x",
        ("tests/manifests/test_refs.py::test_no",),
        "",
    )
    assert len([*faults(gone)]) == 3


def test_names_differ_and_every_area_has_its_table() -> None:
    assert [name for name, count in Counter(named.name for named in ALL).items() if count > 1] == []
    assert NAMED.keys() <= AREAS.keys()
    assert len(ALL) >= 80
    for area in (
        "limits",
        "residency",
        "statistics",
        "registry",
        "training",
        "conversion",
        "plugin",
    ):
        assert len(NAMED[area]) >= 15


@pytest.mark.parametrize(("review", "count"), [("builders.md §5", 18), ("registry.md §7", 16)])
def test_every_defect_that_a_review_planted_is_in_the_table(review: str, count: int) -> None:
    assert len([named.name for named in ALL if named.source == review]) >= count


def test_every_area_has_files_and_tests() -> None:
    for area in AREAS.values():
        assert area.files()
        assert [test for test in area.tests if not (ROOT / test).exists()] == []


def test_what_is_kept_is_a_mutant_of_the_code_and_has_a_reason() -> None:
    kept = read_kept()
    assert (ROOT / KEPT).exists()
    assert stale(kept) == []
    assert [entry.mutant for entry in kept if len(entry.reason) < 15] == []
    for entry in kept:
        shown = {
            mutant.edit.shown((ROOT / entry.file).read_bytes())
            for mutant in candidates(entry.file, kept)
        }
        assert (entry.line, entry.mutant) not in shown


def named(before: str, after: str, file: str = "manifests/refs.py") -> Named:
    return Named("n", file, before, after, ("tests/manifests/test_refs.py",), "why")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (named("no such text", "x"), "has its text 0 times"),
        (named("name", "x"), "times, not once"),
        (named('DEFAULT_ALIAS = "prod"', "DEFAULT_ALIAS ="), "does not parse"),
        (named('DEFAULT_ALIAS = "prod"', "DEFAULT_ALIAS = 'prod'  # same"), "changes nothing"),
        (named("x", "y", "manifests/gone.py"), "there is no `manifests/gone.py`"),
    ],
)
def test_an_entry_that_says_nothing_is_a_fault_not_a_kill(entry: Named, words: str) -> None:
    with pytest.raises(TableFault, match=words):
        entry.edit()
