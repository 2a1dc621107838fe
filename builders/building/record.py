"""Which stages of a build are done, and what each left: the memory of a resumable build.

Invariant: a stage is recorded, by an atomic rename, after all its files are written; a build that
dies repeats at most the stage it was in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.events import EventLog

_RECORD = "build.json"


class Stages:
    """The record of one build directory.

    Args:
        folder: the build directory.
        plan: written there when the build begins; a resumed build goes on with the first one.
        events: told when a stage begins and ends.
    """

    def __init__(self, folder: Path, plan: Plan, events: EventLog) -> None:
        self.folder = folder
        self._events = events
        path = folder / _RECORD
        if path.exists():
            self._record = json.loads(path.read_text(encoding="utf-8"))
        else:
            self._record = {
                "plan": plan.model_dump(mode="json"),
                "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "done": {},
            }
            self._write()

    @property
    def created(self) -> str:
        """When the build began, RFC 3339."""
        return str(self._record["created"])

    @property
    def plan(self) -> Plan:
        """The plan the build began with."""
        return Plan.model_validate_json(json.dumps(self._record["plan"]))

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stage's result: of this call's work, or of the one that finished it before."""
        done: dict[str, Any] = self._record["done"]
        if name not in done:
            self._events.emit("stage", name=name, state="begin")
            done[name] = work()
            self._write()
            self._events.emit("stage", name=name, state="end")
        result: dict[str, Any] = done[name]
        return result

    def _write(self) -> None:
        temporary = self.folder / f".{_RECORD}"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(self._record, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / _RECORD)


def unfinished(folder: Path) -> bool:
    """Whether a build began in a folder and is not published."""
    path = folder / _RECORD
    if not path.exists():
        return False
    return "publish" not in json.loads(path.read_text(encoding="utf-8"))["done"]


def left_behind(builds: Path, plan: Plan) -> list[tuple[Path, str]]:
    """Unfinished builds of a plan's adapter that other code or packages began, and which of both.

    Their plans have other digests than any that is made now, so nothing finds them again: a
    training cannot go on with what turns rows into weights in another way.
    """
    found = []
    for folder in sorted(builds.glob(f"{plan.manifest.adapter.name}-*")):
        if not unfinished(folder):
            continue
        begun = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["plan"]
        if begun["manifest"]["adapter"]["name"] != plan.manifest.adapter.name:
            continue  # `tickets-eu` begins with `tickets-` too
        if begun["code"] != plan.code:
            found.append((folder, "another version of adapterworks"))
        elif begun["packages"] != plan.packages:
            found.append((folder, "other versions of the packages it needs"))
    return found


def start_over(folder: Path) -> None:
    """Remove everything of a build but its lock."""
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
