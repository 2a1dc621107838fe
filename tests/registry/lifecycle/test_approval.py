"""Four eyes: who asks for a move does not make it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import Conflict, NotFound, Refused
from adapterworks.registry.lifecycle.protection import Rule, Settings
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish


@pytest.fixture
def two(local_registry: Registry, tmp_path: Path) -> Registry:
    """Two versions, the first of them `prod`, which two others must approve the moves of."""
    for number in (1, 2):
        publish(local_registry, tmp_path, number)
    local_registry.promote("medical", 1, "prod", who="ann")
    rule = Rule(names=("medical",), approvals=2)
    local_registry.protection.keep(Settings(aliases={"prod": rule}), who="ann")
    return local_registry


def _holder(registry: Registry) -> int:
    return registry.resolve("medical:prod").version


def test_a_move_is_made_by_the_last_approval(two: Registry) -> None:
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better", expect=1)
    assert [request.id for request in two.approvals.requests()] == [asked.id]
    first = two.approvals.approve(asked.id, who="bob")
    assert (first.outcome, first.approved_by, _holder(two)) == (None, ("bob",), 1)
    last = two.approvals.approve(asked.id, who="cem", why="seen")
    assert (last.outcome, last.approved_by, _holder(two)) == ("approve", ("bob", "cem"), 2)
    assert two.approvals.requests() == []
    move = two.history("medical", "prod")[-1]
    assert (move.who, move.why) == ("cem", f"request {asked.id} by ann: better")
    assert two.upkeep.verify().clean


def test_nobody_approves_what_they_asked_for_or_twice(two: Registry) -> None:
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better")
    with pytest.raises(Refused, match="by `ann`"):
        two.approvals.approve(asked.id, who="ann")
    two.approvals.approve(asked.id, who="bob")
    with pytest.raises(Refused, match="`bob` has approved"):
        two.approvals.approve(asked.id, who="bob")
    assert _holder(two) == 1


def test_there_is_no_way_around_it_but_back(two: Registry) -> None:
    with pytest.raises(Refused, match="2 others must approve"):
        two.promote("medical", 2, "prod", who="ann")
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better")
    for who in ("bob", "cem"):
        two.approvals.approve(asked.id, who=who)
    two.rollback("medical", "prod", who="ann")
    assert _holder(two) == 1
    with pytest.raises(Refused):  # what was approved once is not approved for good
        two.promote("medical", 2, "prod", who="ann")
    with pytest.raises(Conflict, match="approved already"):
        two.approvals.approve(asked.id, who="dan")


def test_a_request_that_was_denied_stays_so(two: Registry) -> None:
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better")
    two.approvals.approve(asked.id, who="bob")
    assert two.approvals.deny(asked.id, who="ann", why="not yet").outcome == "deny"
    for decide in (two.approvals.approve, two.approvals.deny):
        with pytest.raises(Conflict, match="denied already"):
            decide(asked.id, who="cem")
    assert (two.approvals.requests(), _holder(two)) == ([], 1)


def test_an_approval_that_loses_the_race_leaves_nothing(two: Registry) -> None:
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better", expect=2)
    two.approvals.approve(asked.id, who="bob")
    with pytest.raises(Conflict):
        two.approvals.approve(asked.id, who="cem")
    (still,) = two.approvals.requests()
    assert (still.approved_by, _holder(two)) == (("bob",), 1)


def test_what_else_the_alias_asks_for_is_still_asked(two: Registry) -> None:
    rule = Rule(names=("medical",), approvals=1, proof=True)
    two.protection.keep(Settings(aliases={"prod": rule}), who="ann")
    asked = two.approvals.request("medical", 2, "prod", who="ann", why="better")
    with pytest.raises(Refused, match="fingerprint"):
        two.approvals.approve(asked.id, who="bob")
    assert two.approvals.requests()[0].approved_by == ()
    two.log.note_proof(two.resolve("medical@2").digest, "proved")
    two.approvals.approve(asked.id, who="bob")
    assert _holder(two) == 2


def test_an_alias_without_settings_needs_one_other(
    local_registry: Registry, tmp_path: Path
) -> None:
    publish(local_registry, tmp_path, 1)
    asked = local_registry.approvals.request(
        "medical", 1, "x", who="ann", why="w", expect=None, weight=100
    )
    local_registry.approvals.approve(asked.id, who="bob")
    assert local_registry.resolve("medical:x").version == 1
    with pytest.raises(NotFound):
        local_registry.approvals.request("medical", 9, "x", who="ann", why="w")
    with pytest.raises(NotFound):
        local_registry.approvals.approve(10_000, who="bob")
