"""The log is a chain: what its owner changed in it is seen, and which row."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.registry.index import schema
from adapterworks.registry.registry import Registry
from tests.registry.owner import as_owner
from tests.registry.releases import publish

log = schema.log


@pytest.fixture
def told(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with a history of seven rows."""
    for number in (1, 2, 3):
        publish(registry, tmp_path, number)
    registry.promote("medical", 1, "prod", who="ann", why="good")
    registry.promote("medical", 2, "prod", who="bob", why="better")
    registry.delete("medical", 3, who="ann")
    registry.log.note("medical", 1, "feedback", who="eve", score=1)
    assert registry.upkeep.verify().clean
    return registry


@pytest.mark.parametrize("column", ["name", "kind", "version", "alias", "at", "who", "why", "data"])
def test_a_changed_row_is_named(told: Registry, column: str) -> None:
    value: object = 9 if column == "version" else '{"score": 9}' if column == "data" else "forged"
    row = sa.update(log).where(log.c.sequence == 7).values({column: value})
    as_owner(told, lambda connection: connection.execute(row))
    (problem,) = [p for p in told.upkeep.verify().problems if p.message.startswith("row ")]
    assert problem.message.startswith("row 7 of the log")
    assert "is not what was logged" in problem.message


def test_a_row_that_was_taken_out_or_put_in_is_seen(told: Registry) -> None:
    as_owner(told, lambda connection: connection.execute(sa.delete(log).where(log.c.sequence == 5)))
    assert "row 6 of the log" in told.upkeep.verify().problems[0].message
    values = {
        "name": "medical",
        "kind": "feedback",
        "at": "2026",
        "who": "x",
        "why": "",
        "data": "{}",
    }
    as_owner(told, lambda connection: connection.execute(sa.insert(log).values(values)))
    assert [
        p.message.partition(":")[2] for p in told.upkeep.verify().problems if "row 8" in p.message
    ] == [" it was put into the log from outside"]


def test_rows_of_before_the_chain_are_covered_by_its_first_link(
    told: Registry, tmp_path: Path
) -> None:
    as_owner(told, lambda connection: connection.execute(sa.update(log).values(chain=None)))
    assert told.upkeep.verify().clean
    publish(told, tmp_path, 4)
    told.log.note("medical", 1, "feedback", who="eve")
    assert told.upkeep.verify().clean
    row = sa.update(log).where(log.c.sequence == 2).values(who="forged")
    as_owner(told, lambda connection: connection.execute(row))
    (problem,) = told.upkeep.verify().problems
    assert problem.message.startswith("row 8 of the log")


def test_a_truncated_log_is_seen(told: Registry) -> None:
    as_owner(told, lambda connection: connection.execute(sa.delete(log)))
    said = {problem.message for problem in told.upkeep.verify().problems}
    assert "the log does not say that this release was published under this number" in said
    assert "the log and its row do not agree on whether it was deleted" in said


def test_a_version_that_was_brought_back_or_exchanged_is_seen(told: Registry) -> None:
    versions = schema.versions
    back = sa.update(versions).where(versions.c.version == 3).values(deleted=None)
    as_owner(told, lambda connection: connection.execute(back))
    assert "the log and its row do not agree on whether it was deleted" in {
        problem.message for problem in told.upkeep.verify().problems
    }
    forged = sa.update(versions).where(versions.c.version == 1).values(metrics='{"exact_match": 1}')
    as_owner(told, lambda connection: connection.execute(forged))
    assert "the index says another metrics than the record" in {
        problem.message for problem in told.upkeep.verify().problems if problem.ref == "medical@1"
    }
