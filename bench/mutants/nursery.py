"""A process that runs pytest over and over in forked children, so that imports are paid for once.

It imports what the tests need from elsewhere, never the project's own modules: a child that imports
those gets them from the tree as it is then. Commands and answers are lines of JSON:

    {"tests": […], "timeout": 60, "each": {"": 20}, "mutated": true}   run them, up to a failure
    {"preload": ["numpy", …]}                                    import these before the next fork

    python -m bench.mutants.nursery     in the tree, by `tree.py`
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from bench.mutants.lines import Lines
from bench.mutants.watch import BEFORE, Watch, running

_OWN = ("adapterworks", "tests", "bench", "docs", "conftest", "__main__")
_PLANTED = ("adapterworks", "tests")  # where defects are
_MEMORY = 8 << 30  # a mutant that allocates for ever


def child(command: dict[str, Any], answer: Path) -> int:
    """One run of pytest, in a process of its own."""
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    sys.dont_write_bytecode = command["mutated"]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1" if command["mutated"] else ""
    watch = Watch(answer.with_name("running"))
    lines = Lines(Path.cwd(), set(command["trace"])) if command.get("trace") else None
    arguments = [
        *command["tests"], *command.get("arguments", []), "-q", "-p", "no:cacheprovider",
        # They are imported before pytest could rewrite their assertions, and that is all right.
        "-W", "ignore::pytest.PytestAssertRewriteWarning",
        "--basetemp", str(answer.parent / "tests"),
    ]  # fmt: skip
    if not command.get("all"):
        arguments.append("-x")
    plugins: list[object] = [watch] if lines is None else [watch, lines]
    code = int(pytest.main(arguments, plugins=plugins))
    touched: dict[str, list[tuple[str, int]]] = {}
    if lines is not None:
        lines.stop()
        touched = {test: sorted(found) for test, found in lines.touched.items()}
    modules = [name for name in sys.modules if name.partition(".")[0] not in _OWN]
    answer.write_text(
        json.dumps(
            {
                "code": code, "failed": watch.failed, "imported": watch.imported,
                "tests": watch.seconds, "work": watch.work, "outcomes": watch.outcomes,
                "touched": touched,
                "modules": modules if command.get("learn") else [],
            }
        )
    )  # fmt: skip
    return code


def run(command: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait, and say what came of it.

    `timeout` is for all together, `each` for one test by its id, `""` for those that it does not
    name and for what comes before the first. What takes longer is ended from here: a test that
    hangs may also hang on to its signals.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        answer, said = Path(folder, "answer"), Path(folder, "said")
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.setsid()
                with said.open("wb") as out:
                    os.dup2(out.fileno(), 1)
                    os.dup2(out.fileno(), 2)
                code = child(command, answer)
            finally:
                sys.stdout.flush()
                os._exit(code)
        each = command.get("each", {})
        timed_out = not _wait(pid, began + command["timeout"], each, answer.with_name("running"))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it left behind, or itself
        if timed_out:
            os.waitpid(pid, 0)
        found: dict[str, Any] = {"code": None, "failed": None, "imported": True}
        if timed_out:
            found["failed"] = running(answer.with_name("running"), began)[0] or None
        elif answer.exists():
            found = json.loads(answer.read_text())
        tail = said.read_text(errors="replace")[-3000:] if said.exists() else ""
        if "ImportError while loading conftest" in tail:
            found |= {"imported": False, "failed": "conftest.py"}
    return {**found, "timeout": timed_out, "seconds": time.monotonic() - began, "tail": tail}


def _wait(pid: int, deadline: float, each: dict[str, float], at: Path) -> bool:
    """Whether the child ends in time."""
    began = time.monotonic()
    pause = 0.002
    while (now := time.monotonic()) < deadline:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return True
        test, since = running(at, began)
        if now - since > each.get(test, each.get(BEFORE, math.inf)):
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return False


def main() -> None:
    """Serve commands until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if "preload" in command:
            for name in command["preload"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            gc.freeze()  # pytest collects garbage several times: not in all of these
            # A module of ours that is here now would be the same one under every mutant.
            answer["ours"] = sorted(n for n in sys.modules if n.partition(".")[0] in _PLANTED)
        else:
            answer = run(command)
        out.write(json.dumps(answer) + "\n")
        out.flush()
    os._exit(0)  # thousands of modules need not be taken down one by one


if __name__ == "__main__":
    main()
