"""What a job has on a machine's disk: a folder under `ADAPTERS_HOME/jobs`, while it is run.

Invariant: a tenant's rows are in it only while a worker builds; its log stays for whoever runs the
machine, and goes with the gc that finds the job ended for long enough.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import sqlalchemy as sa

from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.states import ENDED

LOG = "worker.log"
_PAGE = 500
_jobs = schema.jobs


def folder_of(home: Path, job: str) -> Path:
    """Where a job's files are on this machine."""
    return home / "jobs" / job


def clear(folder: Path) -> None:
    """Remove what a run has laid out, the log excepted; what is not there is no fault."""
    for path in list(folder.glob("*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOG:
            path.unlink(missing_ok=True)


def forget(database: Database, home: Path, before: float, *, dry_run: bool) -> int:
    """Remove the folders of jobs that ended before a time; returns how many.

    Of jobs that ended later the log stays, and nothing else. A folder that no job of this index is
    known for is left alone: it may be another's.

    Args:
        before: seconds since the epoch.
        dry_run: only count them.
    """
    folders = sorted(path for path in (home / "jobs").glob("*") if path.is_dir())
    if not folders:  # whoever may only read an index has no jobs to forget, and makes no tables
        return 0
    schema.migrate(database)
    gone = 0
    for begin in range(0, len(folders), _PAGE):
        page = {path.name: path for path in folders[begin : begin + _PAGE]}
        query = sa.select(_jobs.c.id, _jobs.c.finished).where(
            _jobs.c.id.in_(list(page)), _jobs.c.state.in_(ENDED)
        )
        with database.read() as connection:
            ended = connection.execute(query).all()
        for row in ended:
            old = row.finished < before
            gone += old
            if dry_run:
                continue
            if old:
                shutil.rmtree(page[row.id], ignore_errors=True)
            else:
                clear(page[row.id])
    return gone
