"""A task's folder on a file system that is shared: its log, and its exit code when it has ended.

The code is written last and whole: where it is, nothing of the task runs any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterworks.workers.executors.executor import NoPlace, State, Task

# $1 the task's folder, $2 where the command begins, then the command. An end that is asked for
# reaches the command, and is waited for: a worker gives back what it runs. Begun again by the place
# (a node died), it has not ended.
SCRIPT = """
folder=$1; cd "$2" || exit 1; shift 2
rm -f "$folder/code"
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
"$@" >> "$folder/log" 2>&1 < /dev/null &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
echo "$code" > "$folder/code.part"; mv "$folder/code.part" "$folder/code"
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """One task's, below a root."""

    path: Path

    @classmethod
    def make(cls, root: Path, task: Task) -> TaskFolder:
        """A new one."""
        folder = cls(root / task.name)
        folder.path.mkdir(parents=True)
        return folder

    @classmethod
    def find(cls, root: Path, name: str) -> TaskFolder:
        """One that is there.

        Raises:
            NoPlace: none of that name was begun here, so that nothing is known of it: with a shared
                index it may run on another machine, or for another `ADAPTERS_HOME`.
        """
        folder = cls(root / name)
        if "/" in name or not folder.path.is_dir():
            raise NoPlace(
                f"no task `{name}` was started from here",
                hint=f"ask where it was given to its place: its folder is not in {root}",
            )
        return folder

    @property
    def ended(self) -> State | None:
        """How it ended; None while it has not."""
        if not (self.path / "code").exists():
            return None
        if (self.path / "cancelled").exists():
            return "cancelled"
        return "ended" if self._text("code") == "0" else "failed"

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._text("log")

    def cancelled(self) -> None:
        """Somebody has asked for its end."""
        (self.path / "cancelled").touch()

    def _text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return ""
