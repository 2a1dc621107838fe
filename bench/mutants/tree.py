"""A copy of the working tree in which one file at a time is another, and the process that tests it.

Invariant: outside `mutated` the copy is the tree as it was when it was made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.mutants.mutant import ROOT, Edit

_LINKED = (".cache", ".venv")
_LEFT_OUT = ("build", "dist", "wheelhouse", "results")


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run of pytest.

    Attributes:
        code: pytest's, or None if it did not get that far.
        failed: the first test (or file) that failed.
        imported: whether every test file could be imported.
        tail: the end of what was printed.
    """

    code: int | None
    failed: str | None
    imported: bool
    timeout: bool
    seconds: float
    tail: str
    answer: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether there were tests and all passed."""
        return self.code == 0


class Tree:
    """The copy, in a temporary folder; a context manager."""

    def __init__(self, root: Path = ROOT) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True)
        self.root = Path(self._home.name) / "tree"
        self.confirmed: dict[str, bool] = {}  # tests that were asked again on the code as it is
        self.root.mkdir()
        for entry in root.iterdir():
            if entry.name in _LINKED:
                (self.root / entry.name).symlink_to(entry.resolve())
            elif entry.name.startswith(".") or entry.name in _LEFT_OUT:
                continue
            elif entry.is_dir():
                left_out = shutil.ignore_patterns(*_LEFT_OUT)
                shutil.copytree(entry, self.root / entry.name, symlinks=True, ignore=left_out)
            else:
                shutil.copy2(entry, self.root / entry.name)
        # A server that this run's tests share (`tests/warm`) has imported what is not planted.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTEST_XDIST_TESTRUNUID"}
        # `-P`: what is imported is the copy because of PYTHONPATH, as in every child of a test.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.mutants.nursery"],
            cwd=self.root,
            env={**inherited, "PYTHONPATH": str(self.root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tests: Sequence[str], *, timeout: float = 600.0, **options: Any) -> Run:
        """Run tests by id; see `nursery.py` for the options.

        Raises:
            RuntimeError: the process that runs them is gone.
        """
        command = {"tests": [*tests], "timeout": timeout, "mutated": False, **options}
        answer = self._ask(command)
        return Run(
            answer["code"], answer["failed"], answer["imported"], answer["timeout"],
            answer["seconds"], answer["tail"], answer,
        )  # fmt: skip

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules of others once, for all runs that follow.

        Raises:
            RuntimeError: one of them brought one of ours, which no defect would reach any more.
        """
        if ours := self._ask({"preload": [*modules]})["ours"]:
            raise RuntimeError(f"`{ours[0]}` was imported before anything is planted")

    @contextlib.contextmanager
    def mutated(self, edit: Edit) -> Iterator[None]:
        """One edit in place while the block runs."""
        with self.replaced(edit.file, edit.apply((self.root / edit.file).read_bytes())):
            yield

    @contextlib.contextmanager
    def replaced(self, file: str, source: bytes) -> Iterator[None]:
        """One file is another while the block runs."""
        path = self.root / file
        kept = path.with_suffix(".kept")
        # Compiled files are told apart by second and size only, which a mutant may share.
        compiled = path.parent / "__pycache__"
        hidden = [*compiled.glob(f"{path.stem}.*.pyc")]
        path.rename(kept)
        for file_ in hidden:
            file_.rename(file_.with_suffix(".hidden"))
        try:
            path.write_bytes(source)
            yield
        finally:
            for file_ in compiled.glob(f"{path.stem}.*.pyc"):
                file_.unlink()
            for file_ in hidden:
                file_.with_suffix(".hidden").rename(file_)
            kept.rename(path)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the tests is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process and remove the copy."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._home.cleanup()

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()
