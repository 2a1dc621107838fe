"""Which stages of a build are done, and what each left: the memory of a resumable build.

Invariant: a stage is recorded, with the digest of what it depends on and by an atomic rename, after
all its files are written; a build that dies repeats at most the stage it was in, and a stage whose
digest has changed since is done again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.digests import TRAINING_SEMANTICS, training_packages
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.builders.training.events import EventLog
from adapterworks.manifests.atomic import write_atomic

_RECORD = "build.json"
# What a later plan with the same training takes over from the one that began it, as the lock tells
# of the training wherever that was; and how its batches were divided, which memory decides.
_OF_TRAINING = ("seconds", "code", "packages")
_DIVIDED = ("micro_batch", "accumulation", "generation_batch", "shared_prefix", "memory")
# What the release has, and what says rows or what a judge was shown of them.
_PUBLISHED = ("train", "servable", "release", "fingerprint.json", "predictions.jsonl")
_OF_ROWS = ("encoded.safetensors", "rows.json", "sampling", "judge.jsonl", "judge-evaluation.jsonl")


class Stages:
    """The record of one build directory.

    Args:
        folder: the build directory.
        plan: written there when the build begins. A resumed build goes on with it; where a training
            began under an earlier plan, what it is done with holds.
        events: told when a stage begins and ends.
    """

    def __init__(self, folder: Path, plan: Plan, events: EventLog) -> None:
        self.folder = folder
        self._events = events
        begun = recorded(folder)
        self._record: dict[str, Any] = begun or {"done": {}, "python": environment().python}
        if begun and begun["digests"]["train"] == plan.digests.train and _is_training(folder):
            keys: tuple[str, ...] = _OF_TRAINING
            if self.has("train", plan.digests.train) or _still_holds(begun["plan"], plan):
                keys += _DIVIDED
            kept = {key: begun["plan"][key] for key in keys if key in begun["plan"]}
            plan = plan.model_copy(update=kept)
        if not begun or begun["digests"]["publish"] != plan.digest:
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            self._record["created"] = now
            self._record.pop("since", None)
        self._record |= {
            "plan": plan.model_dump(mode="json"),
            "digests": plan.digests.to_json(),
            "semantics": TRAINING_SEMANTICS,
        }
        self.plan = plan
        self._write()

    @property
    def created(self) -> str:
        """When the build began, RFC 3339."""
        return str(self._record["created"])

    def since(self, newest: Callable[[], int]) -> int:
        """The last sequence of the adapter's log when the build began, also where it is resumed.

        Args:
            newest: reads it, once a build.
        """
        if "since" not in self._record:
            self._record["since"] = newest()
            self._write()
        return int(self._record["since"])

    @property
    def python(self) -> str:
        """The interpreter's version in the training."""
        return str(self._record["python"])

    @property
    def has_training(self) -> bool:
        """Whether the training is done, or has come so far that it can go on."""
        begun = (self.folder / "train" / "checkpoints").exists()
        return begun or self.has("train", self.plan.digests.train)

    def once(self, name: str, digest: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stage's result: of this call's work, or of the one that did the same before.

        Args:
            name: of the stage.
            digest: of what it depends on.
            work: does it, writes its files and returns its result.
        """
        if not self.has(name, digest):
            self._events.emit("stage", name=name, state="begin")
            self.put(name, digest, work())
            self._events.emit("stage", name=name, state="end")
        result: dict[str, Any] = self._record["done"][name]["result"]
        return result

    def result(self, name: str, digest: str) -> dict[str, Any] | None:
        """What the stage left, if it is done and nothing that it depends on has changed since."""
        found: dict[str, Any] = self._record["done"].get(name, {})
        return found["result"] if self.has(name, digest) else None

    def has(self, name: str, digest: str) -> bool:
        """Whether the stage is done and depends on nothing that has changed since."""
        done = self._record["done"].get(name)
        return done is not None and done["digest"] == digest

    def put(
        self,
        name: str,
        digest: str,
        result: dict[str, Any],
        *,
        reused: dict[str, str] | None = None,
    ) -> None:
        """Record a stage whose files are written; `reused` names the release they are from."""
        self._record["done"][name] = {"digest": digest, "result": result, "reused": reused}
        self._write()

    def drop(self, name: str) -> None:
        """Have a stage done again, although nothing that its digest covers has changed."""
        self._record["done"].pop(name, None)
        self._write()

    def tell(self, events: EventLog) -> None:
        """Write events to another log from now on."""
        self._events = events

    def use(self, plan: Plan, python: str) -> None:
        """Go on with what a reused training was done with: micro batch, packages, code, Python."""
        self.plan = plan
        self._record["python"] = python
        self._record["plan"] = plan.model_dump(mode="json")
        self._write()

    def reused(self, name: str) -> dict[str, str] | None:
        """The release (`ref`, `digest`) that a finished stage was taken from, if from any."""
        found: dict[str, str] | None = self._record["done"].get(name, {}).get("reused")
        return found

    def close(self) -> str | None:
        """Remove what the registry has now, which a later build takes from the release, and rows,
        which no later build needs; what was sampled stays (`adapters samples`).

        Returns what kept it from that, as files of somebody else's do, or a full disk: nothing is
        lost of what was published.
        """
        published = self._record["done"]["publish"]
        self._record["done"] = {"publish": published}
        self._record.pop("since", None)
        failed: OSError | None = None
        steps: list[Callable[[], None]] = [self._write]
        steps += [partial(_remove, self.folder / left) for left in (*_PUBLISHED, *_OF_ROWS)]
        for step in steps:
            try:
                step()
            except OSError as error:
                failed = failed or error
        return None if failed is None else str(failed)

    def _write(self) -> None:
        write_atomic(self.folder / _RECORD, json.dumps(self._record))


def unfinished(folder: Path) -> bool:
    """Whether a build began in a folder and what it began is not published."""
    record = recorded(folder)
    if record is None:
        return False
    published = record["done"].get("publish")
    if published is None:
        return True
    return "digests" in record and published["digest"] != record["digests"]["publish"]


def half_done(builds: Path, name: str) -> list[Path]:
    """The folders of an adapter's unfinished builds."""
    found = []
    for folder in sorted(builds.glob(f"{name}-*")):
        record = recorded(folder)
        # `tickets-eu` begins with `tickets-` too
        if record is not None and record["plan"]["manifest"]["adapter"]["name"] == name:
            found += [folder] if unfinished(folder) else []
    return found


def left_behind(builds: Path, plan: Plan) -> list[tuple[Path, str]]:
    """Unfinished builds of a plan's adapter that other code or packages began, and which of both.

    Their trainings have other digests than any that is planned now, so nothing finds them again: a
    training cannot go on with what turns rows into weights in another way.
    """
    found = []
    for folder in sorted(builds.glob(f"{plan.manifest.adapter.name}-*")):
        record = recorded(folder)
        if record is None or not unfinished(folder):
            continue
        begun = record["plan"]
        if begun["manifest"]["adapter"]["name"] != plan.manifest.adapter.name:
            continue  # `tickets-eu` begins with `tickets-` too
        if record.get("semantics") != TRAINING_SEMANTICS:
            found.append((folder, "another version of adapterworks"))
        elif training_packages(plan.manifest, begun["packages"]) != training_packages(
            plan.manifest, plan.packages
        ):
            found.append((folder, "other versions of the packages it needs"))
    return found


def start_over(folder: Path) -> None:
    """Remove everything of a build but its lock."""
    for path in folder.iterdir():
        if path.name != ".lock":
            _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def recorded(folder: Path) -> dict[str, Any] | None:
    """What is noted of the build in a folder; None where none is."""
    path = folder / _RECORD
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _is_training(folder: Path) -> bool:
    return (folder / "train").exists()


def _still_holds(begun: dict[str, Any], plan: Plan) -> bool:
    """Whether an unfinished training goes on with its batches divided as they were.

    Not where the manifest divides them otherwise now (`micro_batch_size`, `generation_batch_size`
    were lowered, since there was too little memory), nor where what is free now takes less: a plan
    fills it.
    """
    said = plan.manifest.model_dump(mode="json")
    less = bool(begun["memory"]["total"] <= plan.memory["total"])
    return less and _divides(begun["manifest"]) == _divides(said)


def _divides(manifest: dict[str, Any]) -> tuple[Any, Any]:
    """What a manifest says of how many rows are computed, and answers generated, at once."""
    objective = manifest.get("objective") or {}
    return manifest["train"], objective.get("generation_batch_size")
