"""What a gateway with `[jobs]` has beside one without: files, uploads, and the queue's database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterworks.gateway.config.tables import JobsTable
from adapterworks.gateway.gateway import Gateway
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs.files import Files
from adapterworks.registry.jobs.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Room:
    """The stores of a gateway's jobs.

    Attributes:
        staging: where what is being uploaded lies.
    """

    table: JobsTable
    database: Database
    files: Files
    uploads: Uploads
    staging: Path


def open_room(gateway: Gateway) -> Room:
    """The room of a gateway that has `[jobs]` on, its tables migrated."""
    registry = gateway.registry
    files = Files(registry)
    uploads = Uploads(registry, files)
    staging = registry.home / "uploads"
    return Room(gateway.config.jobs, registry.database, files, uploads, staging)
