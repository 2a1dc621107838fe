"""The documented roles of a PostgreSQL index: each can do its work and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from adapterworks.cli.main import cli
from adapterworks.gateway.residency.declared import Declared
from adapterworks.gateway.residency.proved import Proved
from adapterworks.gateway.residency.verdict import Proof
from adapterworks.gateway.storage import migrations as gateway
from adapterworks.manifests.errors import AdapterworksError, Refused
from adapterworks.registry.datasets import erased
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.datasets.tenants import known_tenants
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle.protection import Settings
from adapterworks.registry.registry import Registry
from tests.postgres import new_database
from tests.registry.datasets.seals import seal_of
from tests.registry.releases import publish

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "registry.md"
Roles = tuple[str, str]
ROLES = ("adapters_reader", "adapters_publisher", "adapters_gateway")


def grants() -> str:
    """The SQL of the documentation, word for word."""
    section = DOCS.read_text().partition("## Roles")[2].partition("\n## ")[0]
    (sql,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return str(sql)


@pytest.fixture(scope="module")
def roles(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """An index with a release, made by its owner, and the roles with a login each; URL, store."""
    url = new_database(postgres_server)
    folder = tmp_path_factory.mktemp("roles")
    blobs = str(folder / "blobs")
    with Registry.open(database=url, blobs=blobs, home=folder / "home") as owner:
        publish(owner, folder, 1, alias="prod")
    env = {"ADAPTERS_DATABASE": url, "ADAPTERS_HOME": str(folder / "home"), "ADAPTERS_BLOBS": blobs}
    done = CliRunner().invoke(cli, ["registry", "upgrade"], env=env)
    assert done.exit_code == 0, done.output
    schema = re.search(r"test_[0-9a-f]+", url)
    assert schema is not None
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'SET search_path TO "{schema[0]}"')
        for statement in grants().split(";"):
            if statement.strip():
                connection.execute(statement.replace("SCHEMA public", f'SCHEMA "{schema[0]}"'))
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role}_login LOGIN PASSWORD 'x' IN ROLE {role}")
    yield url, blobs
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for role in ROLES:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}_login")
            connection.execute(f"DROP ROLE {role}")


def as_role(roles: Roles, role: str, home: Path) -> Registry:
    """The registry as a role sees it, with the owner's store."""
    url, blobs = roles
    login = make_url(url).set(username=f"{role}_login", password="x")
    database = login.render_as_string(hide_password=False)
    return Registry.open(database=database, blobs=blobs, home=home / "home")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET who = 'eve'",
        "DELETE FROM log",
        "TRUNCATE log",
        "DELETE FROM versions",
        "UPDATE versions SET metrics = '{}'",
        "DELETE FROM signatures",
        "DROP TRIGGER log_no_update ON log",
        "ALTER TABLE log DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TABLE log",
        "CREATE TABLE mine (x INT)",
    ],
)
def test_no_role_changes_history(roles: Roles, tmp_path: Path, role: str, statement: str) -> None:
    with as_role(roles, role, tmp_path) as registry:
        before = registry.log.events("medical")
        engine = registry.database.engine
        with (
            pytest.raises(Exception, match=r"denied|must be owner") as refused,
            engine.begin() as c,
        ):
            c.exec_driver_sql(statement)
        assert "append-only" not in str(refused.value)  # it does not come as far as a trigger
        assert registry.log.events("medical") == before


def test_a_reader_reads_everything_and_writes_nothing(roles: Roles, tmp_path: Path) -> None:
    with as_role(roles, "adapters_reader", tmp_path) as registry:
        assert registry.resolve("medical").version == 1
        assert registry.search("icd")
        assert registry.history("medical", "prod")
        for act in (
            lambda: registry.promote("medical", 1, "candidate", who="eve"),
            lambda: registry.delete("medical", 1, with_aliases=True, who="eve"),
            lambda: publish(registry, tmp_path, 2),
            lambda: registry.log.note("medical", 1, "feedback", who="eve"),
        ):
            with pytest.raises(Refused, match="does not let this role do that"):
                act()


def test_a_publisher_publishes_promotes_signs_and_collects(roles: Roles, tmp_path: Path) -> None:
    with as_role(roles, "adapters_publisher", tmp_path) as registry:
        published = publish(registry, tmp_path, 7, alias="candidate")
        registry.promote("medical", published.version, "prod", who="ann")
        registry.rollback("medical", "prod", who="ann")
        registry.tag("medical", published.version, add=["reviewed"], who="ann")
        registry.retire("medical", "candidate", who="ann")
        registry.delete("medical", published.version, who="ann")
        registry.upkeep.gc(grace=0)
        with pytest.raises(Refused, match="does not let this role do that"):
            registry.protection.keep(Settings(), who="eve")


def test_a_gateway_serves_meters_and_moves_nothing(roles: Roles, tmp_path: Path) -> None:
    with as_role(roles, "adapters_gateway", tmp_path) as registry:
        digest = registry.resolve("medical").digest
        with registry.hold(digest, kind="serving"):
            registry.log.note_proof(digest, "proved", engine="e1")
        gateway.migrate(registry.database)
        with registry.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM gateway_slots WHERE tenant = 'nobody'")
        for act in (
            lambda: registry.promote("medical", 1, "candidate", who="eve"),
            lambda: registry.delete("medical", 1, with_aliases=True, who="eve"),
            lambda: registry.retire("medical", "prod", who="eve"),
            lambda: registry.log.note("medical", 1, "promote", who="eve"),
            lambda: registry.protection.keep(Settings(), who="eve"),
        ):
            with pytest.raises(Refused, match="does not let this role do that"):
                act()


# Of who serves the registry, which is the owner, and what only `adapters tenant` writes.
OWNERS = {
    "gateway_registry_tokens",
    "gateway_registry_trail",
    "gateway_registry_sent",
    "gateway_audit",
}


def test_every_table_is_granted_or_the_owners(roles: Roles, postgres_server: str) -> None:
    schema = re.search(r"test_[0-9a-f]+", roles[0])
    assert schema is not None
    with psycopg.connect(postgres_server) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
        tables = {row[0] for row in connection.execute(query, [schema[0]])}
    assert {table for table in tables if not re.search(rf"\b{table}\b", grants())} == OWNERS


def test_a_gateway_pins_and_remembers_what_it_proved(roles: Roles, tmp_path: Path) -> None:
    with as_role(roles, "adapters_gateway", tmp_path) as registry:
        digest = registry.resolve("medical").digest
        pins = Declared(registry.database)
        pins.note(dict.fromkeys(pins.unread(), True))
        assert pins.pinned() == [digest]
        proved = Proved(registry.database)
        proved.note(digest, "engine", Proof("proved", divergence=0.0, separation=1.0))
        assert proved.is_proved(digest, "engine")


def test_a_publisher_builds_with_sealed_rows(roles: Roles, tmp_path: Path) -> None:
    with as_role(roles, "adapters_publisher", tmp_path) as registry:
        datasets = Datasets(registry)
        datasets.seal(seal_of(7), "medical")
        assert [one.owner for one in datasets.seals()] == ["medical"]
        assert known_tenants(registry.database).names == {}
        with registry.database.write() as connection:
            erased.note(connection, ["1" * 16], {}, who="ann", why="consent withdrawn")
        with pytest.raises(Refused), registry.database.read() as connection:
            connection.exec_driver_sql("SELECT cache_salt FROM gateway_tenants")


def test_the_default_first_contact_is_a_message(roles: Roles) -> None:
    """PostgreSQL 15 and later let nobody create tables in `public` who was not allowed to."""
    url = make_url(roles[0]).set(username="adapters_reader_login", password="x")
    url = url.update_query_dict({"options": "-csearch_path=public"})
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(AdapterworksError, match=r"permission denied|cannot be used") as refused:
        database.migrate("registry", [lambda connection: None])
    database.close()
    assert refused.value.hint


def test_a_login_that_may_see_no_schema_is_told_so(
    roles: Roles, postgres_server: str, tmp_path: Path
) -> None:
    """The first contact of a login that nobody has granted anything."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger_login LOGIN PASSWORD 'x'")
    try:
        with pytest.raises(Refused, match="does not let this role") as caught:
            as_role(roles, "stranger", tmp_path)
        assert "Roles" in (caught.value.hint or "")
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("DROP ROLE stranger_login")
