"""What the owner of an index can do to it, triggers or not."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import Connection

from adapterworks.registry.registry import Registry


def as_owner(registry: Registry, act: Callable[[Connection], object]) -> None:
    """What somebody does who may drop triggers, and puts them back."""
    with registry.database.write() as connection:
        triggers = []
        if registry.database.is_sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            triggers = connection.exec_driver_sql(query).all()
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        act(connection)
        for _, sql in triggers:
            connection.exec_driver_sql(sql)
