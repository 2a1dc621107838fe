"""A process that outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adapterworks.workers.executors.local import LocalExecutor
from tests.workers.executors.exercise import exercise, task, until


def test_it_does_what_every_executor_does(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    exercise(LocalExecutor(tmp_path / "tasks"), tmp_path / "work")


def test_it_goes_on_without_who_started_it_and_another_process_can_ask(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from adapterworks.workers.executors.local import LocalExecutor\n"
        "from tests.workers.executors.exercise import task\n"
        "wait = 'import os, time, pathlib\\nwhile not os.path.exists(\"go\"): time.sleep(0.02)'\n"
        "folder = Path(sys.argv[1])\n"
        "print(LocalExecutor(folder / 'tasks').submit(task(folder, 'one', wait)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    executor = LocalExecutor(tmp_path / "tasks")
    assert executor.status(said.stdout.strip()) == "running"
    (tmp_path / "go").touch()
    assert until(executor, "one", "ended") == "ended"


def test_one_that_is_killed_with_its_shell_has_failed(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path / "tasks")
    id = executor.submit(task(tmp_path, "one", "import time; print('up'); time.sleep(60)"))
    while "up" not in executor.log(id):
        assert executor.status(id) == "running"
    pid, _ = (tmp_path / "tasks" / id / "shell").read_text().split()
    os.killpg(int(pid), signal.SIGKILL)
    assert until(executor, id, "failed") == "failed"


@pytest.mark.parametrize("begun", ["of-another-boot/1", "ended", None])
def test_a_number_that_is_somebody_elses_by_now_is_not_the_task(
    tmp_path: Path, begun: str | None
) -> None:
    """A process that has the number of a shell that was killed; the machine began again, or not."""
    executor = LocalExecutor(tmp_path / "tasks")
    id = executor.submit(task(tmp_path, "one", "import time; print('up'); time.sleep(60)"))
    while "up" not in executor.log(id):
        assert executor.status(id) == "running"
    shell = tmp_path / "tasks" / id / "shell"
    pid, of_the_task = shell.read_text().split()
    os.killpg(int(pid), signal.SIGKILL)
    with subprocess.Popen(["sleep", "60"]) as unrelated:
        try:
            shell.write_text(f"{unrelated.pid} {begun or of_the_task}")
            assert executor.status(id) == "failed"
            executor.cancel(id)
            assert unrelated.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                unrelated.wait(0.2)
        finally:
            unrelated.kill()
