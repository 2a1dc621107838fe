"""What a tenant reads of how its job went has no host, no folder and no driver's words in it."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    Unavailable,
)
from adapterworks.registry.index.database import IndexAway
from adapterworks.registry.jobs import shown
from adapterworks.registry.jobs.job import OPERATOR, Stop

SECRET = "db.internal:5432 `/srv/adapters/home/index.db` https://blobs.internal/x"


@pytest.mark.parametrize(
    "error",
    [
        IndexAway(SECRET),
        Unavailable(SECRET),
        Conflict(SECRET),
        IntegrityError(SECRET),
        AdapterworksError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_machines_say_is_for_whoever_runs_them(error: AdapterworksError) -> None:
    later, failed = shown.again(error, "t", after=1.0), shown.stop("code", error, "t")
    for told, kept in ((later.why, later.detail), (failed.message, failed.result)):
        assert "internal" not in told
        assert "srv" not in told
        assert len(told) > 10
        assert kept == {shown.WHY: SECRET}
    assert shown.stop("code", error, OPERATOR) == Stop("code", SECRET)


def test_what_is_of_the_rows_stays_without_where_they_lie() -> None:
    error = InvalidInput(
        "`/srv/home/jobs/ftjob-1/train.jsonl`: line 3 is longer than 64 tokens and/or empty",
        hint="see https://wiki.internal/rows or ~/notes/x.md",
    )
    assert shown.told(error, "t") == (
        "`…/train.jsonl`: line 3 is longer than 64 tokens and/or empty\n\n"
        "hint: see ‹address› or …/x.md"
    )
    assert shown.told(error, OPERATOR).startswith("`/srv/home")


def test_outcomes_are_shown_as_their_owner_may_read_them() -> None:
    stop = Stop("other_base", "`/srv/bases/tiny` is another", result={"ref": "n@1"})
    assert shown.shown(stop, "t") == Stop(
        "other_base",
        "`…/tiny` is another",
        result={"ref": "n@1", shown.WHY: "`/srv/bases/tiny` is another"},
    )
    assert shown.shown(stop, OPERATOR) is stop
    fine = Stop("gate_failed", "exact_match: 1/2 of 0.3 gained")
    assert shown.shown(fine, "t") is fine
