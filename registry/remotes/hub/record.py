"""The record and the statement of what lacks, fetched from a repository with a bound."""

from __future__ import annotations

from pathlib import Path

from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.absent import MAX_ABSENT, parse_absent
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import ABSENT, RECORD
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.record import MAX_RECORD


def fetch_record(hub: Hub, state: RepoState, scratch: Path) -> bytes:
    """The bytes of the record at a commit that has one."""
    with scratch_folder(scratch, "record") as folder:
        return hub.download(state, RECORD, folder, limit=MAX_RECORD).read_bytes()


def fetch_absent(hub: Hub, state: RepoState, release: Release, scratch: Path) -> dict[str, str]:
    """Why a file is not in the repository, by path; empty where nothing is left out.

    Raises:
        IntegrityError: it is not such a statement (`adapterworks.registry.remotes.absent`).
    """
    if ABSENT not in state.files:
        return {}
    with scratch_folder(scratch, "absent") as folder:
        data = hub.download(state, ABSENT, folder, limit=MAX_ABSENT).read_bytes()
    return parse_absent(data, release, str(HubSource(state.repository, state.commit)))
