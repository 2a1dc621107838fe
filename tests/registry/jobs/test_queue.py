"""The queue on SQLite and on PostgreSQL: one definition (`conformance.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from adapterworks.registry.index import schema as index_schema
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import schema
from tests.registry.jobs.conformance import EXERCISES


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with the tables of jobs."""
    opened = Database(database_url)
    opened.migrate(index_schema.NAMESPACE, index_schema.MIGRATIONS)
    schema.migrate(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__)
def test_the_queue(exercise: Callable[[Database], None], database: Database) -> None:
    exercise(database)
