"""Whatever a stranger's record claims, nothing here changes, and each is told in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.hostile_records import RECORDS, Hostile, outcome

SAID = {
    "squat": "which exists here",
    "rank": "it claims rank 600",
    "rank-of-config": "its config has 4",
    "tokens": "it claims 1000000 virtual tokens",
    "prefix": "the base has 2 of",
    "probes": "should have at most 32768 items",
    "escapes": "has the character",
    "lock": "`adapter.lock` is refused",
    "path": "is a file and a folder",
}


@pytest.mark.parametrize("hostile", RECORDS, ids=lambda hostile: hostile.name)
def test_a_hostile_record_is_not_accepted(hostile: Hostile, tmp_path: Path) -> None:
    accepted, said = outcome(hostile, tmp_path)
    assert not accepted, said
    assert SAID.get(hostile.name, "counts for nothing here") in said


def test_one_that_is_not_hostile_is_taken(tmp_path: Path) -> None:
    """Else each of the others could be refused for something that they all have."""
    good = Hostile("good", "nothing", lambda record, files: None, lambda registry: True)
    accepted, said = outcome(good, tmp_path)
    assert (accepted, said) == (False, "taken, and what it claims counts for nothing here")
