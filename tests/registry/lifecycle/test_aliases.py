"""Aliases: compare-and-set, a history that cannot be rewritten, rollback as a move, canaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish


@pytest.fixture
def three(registry: Registry, tmp_path: Path) -> Registry:
    """`medical` with three versions and no alias."""
    for number in (1, 2, 3):
        publish(registry, tmp_path, number)
    return registry


def held(registry: Registry, alias: str = "prod") -> list[tuple[int, int]]:
    return [(item.version, item.weight) for item in registry.weights("medical", alias)]


def test_mlflow_2169_every_move_is_in_the_history(three: Registry) -> None:
    three.promote("medical", 1, "prod", who="ann", why="first")
    three.promote("medical", 3, "prod", who="bob", why="better")
    three.rollback("medical", "prod", who="cy", why="worse after all")
    three.promote("medical", 2, "candidate", who="ann")
    moves = three.history("medical", "prod")
    assert [(m.kind, m.previous, m.version, m.who, m.why) for m in moves] == [
        ("promote", None, 1, "ann", "first"),
        ("promote", 1, 3, "bob", "better"),
        ("rollback", 3, 1, "cy", "worse after all"),
    ]
    assert all(m.at.endswith("Z") for m in moves)
    assert len(three.history("medical")) == 4


def test_a_move_with_a_stale_expectation_loses_and_changes_nothing(three: Registry) -> None:
    three.promote("medical", 1, "prod", who="ann", expect=None)
    before = three.revision()
    for expected in (2, None):
        with pytest.raises(Conflict, match="`medical:prod` is `medical@1`, not") as error:
            three.promote("medical", 3, "prod", who="bob", expect=expected)
        assert "adapters log medical:prod" in (error.value.hint or "")
    assert three.revision() == before
    assert held(three) == [(1, 100)]
    three.promote("medical", 3, "prod", who="bob", expect=1)
    assert held(three) == [(3, 100)]
    # Nobody holds it: then no version is the one that was expected.
    with pytest.raises(Conflict, match="`medical:qa` is unset, not `medical@1`"):
        three.promote("medical", 3, "qa", who="bob", expect=1)
    with pytest.raises(NotFound):
        three.weights("medical", "qa")


def test_rollback_goes_further_back_each_time(three: Registry) -> None:
    for version in (1, 2, 3):
        three.promote("medical", version, "prod", who="ann")
    assert three.rollback("medical", "prod", who="ann").version == 2
    assert three.rollback("medical", "prod", who="ann").version == 1
    with pytest.raises(Conflict, match="no earlier version"):
        three.rollback("medical", "prod", who="ann")
    three.promote("medical", 3, "prod", who="ann")
    assert three.rollback("medical", "prod", who="ann").version == 1


def test_a_version_that_came_back_is_where_a_rollback_goes(three: Registry) -> None:
    """1, 2, 1 again, 3: before 3 it was 1, and before that 2."""
    for version in (1, 2, 1, 3):
        three.promote("medical", version, "prod", who="ann")
    assert three.rollback("medical", "prod", who="ann").version == 1
    assert three.rollback("medical", "prod", who="ann").version == 2


def test_rollback_steps_over_deleted_versions(three: Registry) -> None:
    for version in (1, 2, 3):
        three.promote("medical", version, "prod", who="ann")
    three.delete("medical", 2, who="ann")
    assert three.rollback("medical", "prod", who="ann").version == 1


def test_a_canary_takes_its_share_and_resolve_stays_with_the_holder(three: Registry) -> None:
    three.promote("medical", 2, "prod", who="ann")
    move = three.promote("medical", 3, "prod", who="ann", weight=10)
    assert (move.kind, move.version, move.canary, move.weight) == ("canary", 2, 3, 10)
    assert held(three) == [(2, 90), (3, 10)]
    assert three.resolve("medical").version == 2
    three.promote("medical", 1, "prod", who="ann", weight=25)  # another canary replaces it
    assert held(three) == [(2, 75), (1, 25)]
    three.promote("medical", 1, "prod", who="ann")
    assert held(three) == [(1, 100)]


def test_rollback_ends_a_canary_first(three: Registry) -> None:
    three.promote("medical", 1, "prod", who="ann")
    three.promote("medical", 2, "prod", who="ann")
    three.promote("medical", 3, "prod", who="ann", weight=10)
    move = three.rollback("medical", "prod", who="ann")
    assert (move.version, move.canary) == (2, None)
    assert held(three) == [(2, 100)]
    assert three.rollback("medical", "prod", who="ann").version == 1


def test_with_an_expectation_nobody_ends_the_canary_of_another(three: Registry) -> None:
    three.promote("medical", 1, "prod", who="ann")
    three.promote("medical", 2, "prod", who="ann", weight=10)
    for version, weight in ((3, 100), (1, 100), (3, 20)):
        with pytest.raises(Conflict, match="has a canary, `medical@2` at 10 %") as error:
            three.promote("medical", version, "prod", who="bob", expect=1, weight=weight)
        assert "adapters rollback medical:prod --expect medical@2" in (error.value.hint or "")
    assert held(three) == [(1, 90), (2, 10)]
    # Her own steps: more of it, and all of it.
    three.promote("medical", 2, "prod", who="ann", expect=1, weight=50)
    three.promote("medical", 2, "prod", who="ann", expect=1)
    assert held(three) == [(2, 100)]


def test_two_who_see_the_same_trouble_take_one_step_back(three: Registry) -> None:
    for version in (1, 2):
        three.promote("medical", version, "prod", who="ann")
    three.promote("medical", 3, "prod", who="ann", weight=10)
    for wanted, left in ((3, 2), (2, 1)):
        three.rollback("medical", "prod", who="bob", expect=wanted)
        with pytest.raises(Conflict, match=f"is `medical@{left}`, not `medical@{wanted}`"):
            three.rollback("medical", "prod", who="cy", expect=wanted)
        assert held(three) == [(left, 100)]


@pytest.mark.parametrize("weight", [0, -1, 101])
def test_impossible_weights_are_refused(three: Registry, weight: int) -> None:
    three.promote("medical", 1, "prod", who="ann")
    with pytest.raises(InvalidInput, match="is not a weight"):
        three.promote("medical", 2, "prod", who="ann", weight=weight)


def test_a_canary_needs_a_holder_other_than_itself(three: Registry) -> None:
    with pytest.raises(InvalidInput, match="has no holder"):
        three.promote("medical", 1, "prod", who="ann", weight=10)
    three.promote("medical", 1, "prod", who="ann")
    with pytest.raises(InvalidInput, match="cannot be its own canary"):
        three.promote("medical", 1, "prod", who="ann", weight=10)


def test_what_does_not_exist_cannot_be_promoted_or_rolled_back(three: Registry) -> None:
    three.delete("medical", 2, who="ann")
    for version in (2, 9):
        with pytest.raises(NotFound):
            three.promote("medical", version, "prod", who="ann")
    for call in (three.rollback, three.weights):
        with pytest.raises(NotFound, match="has no alias `qa`"):
            call("medical", "qa", **({"who": "ann"} if call == three.rollback else {}))
    with pytest.raises(InvalidInput, match="not an alias"):
        three.promote("medical", 1, "12", who="ann")


def test_a_retired_alias_is_gone_and_what_it_held_stays(three: Registry) -> None:
    three.promote("medical", 2, "prod", who="ann")
    before = three.revision()
    with pytest.raises(Conflict, match="somebody moved it"):
        three.retire("medical", "prod", who="bob", expect=1)
    event = three.retire("medical", "prod", who="bob", why="no manifest", expect=2)
    assert (event.kind, event.version, event.alias) == ("retire", 2, "prod")
    assert three.revision() != before  # gateways look again
    with pytest.raises(NotFound):
        three.resolve("medical:prod")
    assert three.resolve("medical@2").version == 2
    with pytest.raises(NotFound):
        three.retire("medical", "prod", who="bob")
    with pytest.raises(NotFound, match="no adapter `nobody`"):
        three.retire("nobody", "prod", who="bob")
    assert three.upkeep.verify().clean
    three.promote("medical", 3, "prod", who="ann", expect=None)
    assert [move.version for move in three.history("medical", "prod")] == [2, 3]
    assert [event.kind for event in three.log.events("medical", alias="prod")][1] == "retire"


def test_an_aliased_only_version_can_go_with_its_aliases(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    publish(registry, tmp_path, 2)
    registry.promote("medical", 1, "staging", who="ann")
    registry.promote("medical", 2, "staging", who="ann", weight=20)
    registry.promote("medical", 2, "other", who="ann")
    registry.promote("medical", 1, "other", who="ann", weight=20)
    with pytest.raises(Conflict, match="cannot be deleted") as refused:
        registry.delete("medical", 1, who="ann")
    assert "adapters delete medical@1 --with-aliases" in (refused.value.hint or "")
    before = registry.revision()
    registry.delete("medical", 1, with_aliases=True, who="dpo", why="consent withdrawn")
    assert registry.revision() > before
    for alias in ("prod", "staging"):
        with pytest.raises(NotFound, match=f"`medical` has no alias `{alias}`"):
            registry.resolve(f"medical:{alias}")
    assert [(held.version, held.weight) for held in registry.weights("medical", "other")] == [
        (2, 100)
    ]
    assert {(e.alias, e.who) for e in registry.log.events("medical") if e.kind == "retire"} == {
        ("prod", "dpo"),
        ("staging", "dpo"),
    }
    assert registry.upkeep.verify().clean
    registry.promote("medical", 2, "prod", who="ann", expect=None)
    with pytest.raises(Conflict, match="no earlier version"):
        registry.rollback("medical", "prod", who="ann")
    assert registry.upkeep.verify().clean
