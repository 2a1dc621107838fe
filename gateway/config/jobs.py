"""`[jobs]` of `gateway.toml`: files, jobs and batches of tenants, and the trackers of jobs."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from adapterworks.gateway.config.table import PositiveFloat, PositiveInt, Table

Integration = Literal["wandb", "mlflow"]
"""The trackers that a fine-tuning job may tell its metrics to, where that is allowed."""


_WILD = re.compile(r"[*?\[]")
_ENDS = re.compile(r"[^a-z0-9._*?\[\]-]")  # no name of a tenant has it


class IntegrationTable(Table):
    """`[[jobs.integrations]]`: a tracker that fine-tuning jobs of some tenants may tell metrics to.

    `tenants` are names, or `*` for all. A tenant's projects (`mlflow` calls them experiments) match
    one of `projects`, in which `{tenant}` is its name; between it and a `*` stands a sign that no
    tenant's name has, as in `{tenant}@*`: `{tenant}-*` would give `acme` what is `acme-eu`'s.
    `entity` is whose they are, where a tracker has teams; nobody may name another. Address and key
    are in the workers' environment.
    """

    type: Integration
    tenants: tuple[str, ...]
    projects: tuple[str, ...] = ("*",)
    entity: str | None = None

    @field_validator("projects")
    @classmethod
    def _one_tenants(cls, projects: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in projects:
            before, tenant, after = pattern.partition("{tenant}")
            runs_on = _WILD.search(after) and not _ENDS.match(after)
            if tenant and (runs_on or (_WILD.search(before) and not _ENDS.match(before[-1:]))):
                raise ValueError(
                    f"`{pattern}` matches projects of tenants whose names only begin or end like "
                    "another's: put a sign that no name has between `{tenant}` and what varies, as "
                    "in `{tenant}@*`"
                )
        return projects


class JobsTable(Table):
    """`[jobs]`: files, fine-tuning jobs and batches of tenants; none of their paths unless `on`.

    `template` is a manifest from which every fine-tuning job begins (relative to this file): all
    but its name, base and rows. `file_bytes` bounds one file, `tenant_bytes` a tenant's files
    together; `max_queued` and `max_running` a tenant's jobs of one kind that have not ended, and
    its jobs that run at once. A gateway runs `batch_running` batches at once, and of all their
    lines `batch_parallel`. A job that is built waits `proof_hours` for an engine that proves it,
    and fails then. No tracker is told of jobs unless `integrations` says so. `python_graders`
    lets tenants' graders run code in a sandbox, here and where their jobs are trained; a gateway
    where it is turned off ends the jobs of that kind that are there.
    """

    on: bool = False
    template: str | None = None
    file_bytes: PositiveInt = 512 * 1024 * 1024
    tenant_bytes: PositiveInt = 20 * 1024 * 1024 * 1024
    upload_seconds: PositiveFloat = 1800.0
    max_queued: PositiveInt = 100
    max_running: PositiveInt = 2
    batch_running: PositiveInt = 8
    batch_parallel: PositiveInt = 8
    proof_hours: PositiveFloat = 168.0
    python_graders: bool = True
    integrations: tuple[IntegrationTable, ...] = ()
