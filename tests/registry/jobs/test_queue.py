"""The queue on SQLite and on PostgreSQL: one definition (`conformance.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from adapterworks.registry.index import migrations
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import schema
from tests.registry.jobs.conformance import EXERCISES


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with the tables of jobs."""
    opened = Database(database_url)
    opened.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    schema.migrate(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__)
def test_the_queue(exercise: Callable[[Database], None], database: Database) -> None:
    exercise(database)
