"""What a gateway with `[jobs]` has beside one without: files, uploads, and the queue's database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.gateway.config.jobs import JobsTable
from adapterworks.gateway.files.joining import Joiner
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.scans import Scans
from adapterworks.gateway.jobs.template import read_template
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs.files import Files
from adapterworks.registry.jobs.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Room:
    """The stores of a gateway's jobs.

    Attributes:
        joiner: completes uploads.
        scans: looks through rows.
        template: tables that every fine-tuning job begins from.
        staging: where what is being uploaded lies.
    """

    table: JobsTable
    database: Database
    files: Files
    uploads: Uploads
    joiner: Joiner
    scans: Scans
    template: dict[str, Any]
    staging: Path


def open_room(gateway: Gateway) -> Room:
    """The room of a gateway that has `[jobs]` on, its tables migrated.

    Raises:
        InvalidInput: the template of jobs has a fault.
    """
    registry = gateway.registry
    files = Files(registry)
    uploads = Uploads(registry, files)
    table, staging = gateway.config.jobs, registry.uploads
    joiner = Joiner(files, uploads, staging, quota=table.tenant_bytes, seconds=table.upload_seconds)
    template = read_template(table.template)
    return Room(table, registry.database, files, uploads, joiner, Scans(), template, staging)
