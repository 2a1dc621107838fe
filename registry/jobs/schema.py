"""The tables of files and jobs, and the numbered migrations that make them.

Invariants, held by the database itself (triggers), not by convention:
- a job that has ended never changes again, but that its arguments may become shorter (an erasure);
- a job's events are append-only.

`MIGRATIONS` is append-only: a released function is never edited, so it spells its tables out
instead of using the table objects below, which describe the newest schema. Times are seconds since
the epoch, sizes are bytes.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.database import Database
from adapterworks.registry.index.migrating import Migration, expands, refuse, refuse_no_more

NAMESPACE = "jobs"

metadata = sa.MetaData()

files = sa.Table(
    "job_files",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False, quote=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("deleted", sa.Double),
    sa.Column("lease", sa.Text, nullable=False),
)
uploads = sa.Table(
    "job_uploads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("keep_seconds", sa.BigInteger),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("file", sa.Text),
)
parts = sa.Table(
    "job_upload_parts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("upload", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("lease", sa.Text, nullable=False),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("weight", sa.Double, nullable=False),
    sa.Column("most_running", sa.Integer),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("wanted", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("tried", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("lease_until", sa.Double),
    sa.Column("not_before", sa.Double, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("param", sa.Text, nullable=False),
)
# How much each tenant has had of the workers, in units of cost by weight.
shares = sa.Table(
    "job_shares",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("served", sa.Double, nullable=False),
)
events = sa.Table(
    "job_events",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
checkpoints = sa.Table(
    "job_checkpoints",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
)
# What came of each line of a batch's input; a line that is here is never asked again. `output` is
# empty once the job has ended: it is in the results' files then.
lines = sa.Table(
    "job_lines",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
)

_ENDED = "('succeeded', 'failed', 'cancelled')"


def migrate(database: Database) -> None:
    """Bring the tables of `database` to the newest schema; safe in every process."""
    database.migrate(NAMESPACE, MIGRATIONS)


def _m001_files_and_jobs(connection: Connection) -> None:
    """Files, uploads, jobs, shares, events, checkpoints and lines of batches."""
    sequence = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in (
        f"""CREATE TABLE job_files (
            sequence {sequence}, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,
            purpose TEXT NOT NULL, filename TEXT NOT NULL, blob TEXT NOT NULL,
            size BIGINT NOT NULL, "rows" BIGINT NOT NULL, kind TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION,
            deleted DOUBLE PRECISION, lease TEXT NOT NULL)""",
        "CREATE INDEX job_files_tenant ON job_files (tenant, sequence)",
        """CREATE TABLE job_uploads (
            id TEXT PRIMARY KEY, tenant TEXT NOT NULL, purpose TEXT NOT NULL,
            filename TEXT NOT NULL, size BIGINT NOT NULL, keep_seconds BIGINT,
            created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL,
            state TEXT NOT NULL, file TEXT)""",
        """CREATE TABLE job_upload_parts (
            id TEXT PRIMARY KEY, upload TEXT NOT NULL REFERENCES job_uploads (id),
            blob TEXT NOT NULL, size BIGINT NOT NULL, created DOUBLE PRECISION NOT NULL,
            lease TEXT NOT NULL)""",
        "CREATE INDEX job_upload_parts_upload ON job_upload_parts (upload)",
        f"""CREATE TABLE jobs (
            sequence {sequence}, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, tenant TEXT NOT NULL,
            lane TEXT NOT NULL, priority INTEGER NOT NULL, cost DOUBLE PRECISION NOT NULL,
            weight DOUBLE PRECISION NOT NULL, most_running INTEGER, arguments TEXT NOT NULL,
            labels TEXT NOT NULL, state TEXT NOT NULL, wanted TEXT NOT NULL,
            attempt INTEGER NOT NULL, lost INTEGER NOT NULL, tried INTEGER NOT NULL,
            holder TEXT NOT NULL, lease_until DOUBLE PRECISION,
            not_before DOUBLE PRECISION NOT NULL, created DOUBLE PRECISION NOT NULL,
            started DOUBLE PRECISION, finished DOUBLE PRECISION, result TEXT NOT NULL,
            code TEXT NOT NULL, message TEXT NOT NULL, param TEXT NOT NULL)""",
        "CREATE INDEX jobs_tenant ON jobs (tenant, kind, sequence)",
        "CREATE INDEX jobs_state ON jobs (state, lane)",
        """CREATE TABLE job_shares (
            tenant TEXT PRIMARY KEY, served DOUBLE PRECISION NOT NULL)""",
        f"""CREATE TABLE job_events (
            sequence {sequence}, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL,
            at DOUBLE PRECISION NOT NULL, level TEXT NOT NULL, kind TEXT NOT NULL,
            message TEXT NOT NULL, data TEXT NOT NULL)""",
        "CREATE INDEX job_events_job ON job_events (job, sequence)",
        f"""CREATE TABLE job_checkpoints (
            sequence {sequence}, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL,
            step INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL, metrics TEXT NOT NULL,
            UNIQUE (job, step))""",
        """CREATE TABLE job_lines (
            job TEXT NOT NULL, line INTEGER NOT NULL, failed BOOLEAN NOT NULL,
            output TEXT NOT NULL, prompt_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
            completion_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL,
            PRIMARY KEY (job, line))""",
    ):
        connection.exec_driver_sql(statement)
    for operation in ("UPDATE", "DELETE"):
        ended = f"OLD.state IN {_ENDED}"
        refuse(connection, "jobs", operation, "a job that has ended does not change", ended)
        refuse(connection, "job_events", operation, "events are append-only", "OLD.sequence > 0")


@expands
def _m002_jobs_by_their_end(connection: Connection) -> None:
    """Whoever is told of jobs that end asks every second which did."""
    connection.exec_driver_sql("CREATE INDEX jobs_finished ON jobs (finished)")


def _m003_no_texts_of_ended_jobs(connection: Connection) -> None:
    """What batches were answered stayed here after they had ended, whatever became of the files."""
    connection.exec_driver_sql(
        "UPDATE job_lines SET output = '' WHERE job IN ("
        "SELECT id FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled'))"
    )


@expands
def _m004_sums_of_lines(connection: Connection) -> None:
    """Whoever asks how far a batch is is answered without reading what its lines were answered."""
    columns = "failed, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens"
    connection.exec_driver_sql(f"CREATE INDEX job_lines_sums ON job_lines (job, {columns})")


def _m005_arguments_are_blanked(connection: Connection) -> None:
    """An erased tenant's graders stayed: of a job that has ended, arguments may become shorter."""
    columns = """sequence id kind tenant lane priority cost weight most_running labels state wanted
        attempt lost tried holder lease_until not_before created started finished result code
        message param"""
    other = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    changed = [f"NEW.{column} {other} OLD.{column}" for column in columns.split()]
    longer = "(NEW.arguments <> OLD.arguments AND length(NEW.arguments) >= length(OLD.arguments))"
    refuse_no_more(connection, "jobs", "UPDATE")
    when = f"OLD.state IN {_ENDED} AND ({' OR '.join([*changed, longer])})"
    refuse(connection, "jobs", "UPDATE", "a job that has ended does not change", when)


MIGRATIONS: tuple[Migration, ...] = (
    _m001_files_and_jobs,
    _m002_jobs_by_their_end,
    _m003_no_texts_of_ended_jobs,
    _m004_sums_of_lines,
    _m005_arguments_are_blanked,
)
