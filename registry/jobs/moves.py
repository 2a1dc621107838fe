"""From one of a job's states to the next, within the caller's transaction.

Invariant: a job that has ended holds no files and no texts: its inputs are let go of, and what its
lines were answered is in the results' files, if anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.states import ENDED, FOLLOWS, State
from adapterworks.registry.lifecycle import leases

WAITS = "waits"
"""What a job waits for, in its result (`waits.py`)."""
_jobs = schema.jobs


def asked(row: AnyRow) -> State:
    """What a running job becomes when nobody runs it any more: what its owner asked for last."""
    became: dict[str, State] = {"": "queued", "pause": "paused", "cancel": "cancelled"}
    return became[row.wanted]


def stopped(
    connection: Connection,
    row: AnyRow,
    now: float,
    result: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """A running job's holder has stopped: it becomes what its owner asked for last.

    One that is to be cancelled, and has answers that no file has yet, is given out once more.

    Args:
        result, values: as of `move`.
    """
    state = asked(row)
    if state == "cancelled" and has_answers(connection, row.id):
        move(connection, row, "queued", now, result=result, wanted=row.wanted, not_before=now)
    else:
        move(connection, row, state, now, result=result, **values)


def move(
    connection: Connection,
    row: AnyRow,
    state: State,
    now: float,
    result: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Put a job into a state that may follow its own, and let go of what an ended one held.

    Args:
        result: what its runs have found out, beside what is known.
        values: other columns of its row.

    Raises:
        Conflict: the state does not follow.
    """
    if state not in FOLLOWS[row.state]:
        raise Conflict(f"`{row.id}` is {row.state}, which `{state}` does not follow")
    known = {**json.loads(row.result), **(result or {})}
    if state == "paused" or state in ENDED:
        known.pop(WAITS, None)
    values["result"] = json.dumps(known, ensure_ascii=False)
    if state in ENDED:
        values["finished"] = now
        _let_go(connection, row.id)
        _forget_texts(connection, row.id)
    usual = {"state": state, "wanted": "", "holder": "", "lease_until": None}
    connection.execute(sa.update(_jobs).where(_jobs.c.id == row.id).values({**usual, **values}))


def has_answers(connection: Connection, job: str) -> bool:
    """Whether there are answers of its lines that no file of results has yet."""
    lines = schema.lines
    query = sa.select(lines.c.line).where(lines.c.job == job, lines.c.output != "").limit(1)
    return connection.scalar(query) is not None


def _let_go(connection: Connection, job: str) -> None:
    for lease in leases.held_by(connection, "job", job):
        leases.end(connection, lease)


def _forget_texts(connection: Connection, job: str) -> None:
    # What each line cost stays: the batch is answered with it for as long as it is known.
    lines = schema.lines
    connection.execute(
        sa.update(lines).where(lines.c.job == job, lines.c.output != "").values(output="")
    )
