"""A build's checkpoints in the blob store: a node that dies is another node's resume.

What is kept is what a build needs to go on as if it had not stopped: its record (with the plan that
it began under), its events, what it sampled, what a judge said, and the newest checkpoint. The job
says which one.

Invariants:
- the job names a checkpoint after all of its bytes are stored, and only while the claim holds, so a
  lost worker does not put its successor back;
- what it names is leased before it is stored, until the job names another one or has ended, so gc
  leaves it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adapterworks.builders.rewards.asking import KEPT as JUDGE_KEPT
from adapterworks.builders.training.state import newest
from adapterworks.manifests.digests import canonical_json, digest_bytes, digest_file
from adapterworks.registry.blobs.store import BlobStore, read_blob
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import putting, queue
from adapterworks.registry.jobs.job import Claim
from adapterworks.registry.lifecycle import leases
from adapterworks.workers.bundle import unpack

KEPT = "checkpoint"
_CHECKPOINTS = Path("train", "checkpoints")
_RECORD = "build.json"
# Also what was sampled and what a judge said: neither is to be asked for again.
_BESIDE = (_RECORD, "events.jsonl", "samples.jsonl", JUDGE_KEPT)


class BlobCheckpoints:
    """A `CheckpointStore` (`builders/building`): checkpoints as blobs, and their name in the job.

    Args:
        kept: what the job says of an earlier attempt: `folder`, `step`, `record` and `lease`.
        say: told what was brought.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        claim: Claim,
        kept: Mapping[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        self._database, self._blobs, self._claim = database, blobs, claim
        self._kept, self._say = kept, say

    def restore(self, folder: Path) -> None:
        """See `CheckpointStore`."""
        if self._kept is None or self._kept["folder"] != folder.name:
            return
        step = int(self._kept["step"])
        if (folder / _RECORD).is_file() and _step(folder) >= step:
            return
        files = json.loads(read_blob(self._blobs, self._kept["record"]))
        for path in folder.iterdir():
            if path.name != ".lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        # The record last: a folder without one is of no build.
        record = {_RECORD: files.pop(_RECORD)}
        unpack(files, self._blobs, folder)
        unpack(record, self._blobs, folder)
        self._say(f"took over the checkpoint of step {step} from the blob store")

    def save(self, folder: Path) -> None:
        """See `CheckpointStore`; one that is replaced meanwhile is left to the next call."""
        step = _step(folder)
        with tempfile.TemporaryDirectory() as copies:
            try:
                files, sources = _read(folder, Path(copies))
                listed = canonical_json(files)
                record = digest_bytes(listed)
                lease = putting.put_files(
                    self._database, self._blobs, self._claim.job, {**sources, record: listed}
                )
            except FileNotFoundError:
                return
        kept = {
            "folder": folder.name,
            "step": step,
            "record": record,
            "lease": lease,
            "at": time.time(),
        }
        try:
            with self._database.write() as connection:
                queue.note(connection, self._claim, {KEPT: kept})
                if self._kept is not None and "lease" in self._kept:
                    leases.end(connection, self._kept["lease"])
        except BaseException:
            with self._database.write() as connection:
                leases.end(connection, lease)
            raise
        self._kept = kept


def _read(folder: Path, copies: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """A build's files: path → digest, and digest → where the bytes are.

    What grows is read once, into `copies`: what was read is what is kept.

    Raises:
        FileNotFoundError: the training has replaced a checkpoint meanwhile.
    """
    checkpoints = folder / _CHECKPOINTS
    files: dict[str, str] = {}
    sources: dict[str, Path] = {}
    for path in (*(folder / name for name in _BESIDE), *(folder / "train").glob("*.*")):
        if path.is_file():
            copy = Path(shutil.copyfile(path, copies / str(len(files))))
            files[_name(path, folder)] = digest = digest_file(copy)
            sources[digest] = copy
    for path in (*checkpoints.glob("step-*/*"), *checkpoints.glob("best-*/*")):
        files[_name(path, folder)] = digest = digest_file(path)
        sources.setdefault(digest, path)
    return files, sources


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _step(folder: Path) -> int:
    """The newest complete checkpoint's; 0 without one."""
    found = newest(folder / _CHECKPOINTS)
    return 0 if found is None else int(found.folder.name.partition("-")[2])
