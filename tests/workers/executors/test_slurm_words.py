"""What is made of Slurm's words: a controller that is busy, a job that is queued again, its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.workers.executors.executor import NoPlace, Task
from adapterworks.workers.executors.folder import TaskFolder
from adapterworks.workers.executors.slurm import SlurmExecutor

BUSY = "slurm_load_jobs error: Socket timed out on send/recv operation"
FORGOTTEN = "slurm_load_jobs error: Invalid job id specified"
# It says what its file holds: a state, or, behind `!`, an error. All words it is given are noted.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "{folder}/asked"
env >> "{folder}/environment"
read -r said < "{folder}/says"
case "$said" in
  !*) echo "${{said#!}}" >&2; exit 1;;
  *) echo "$said";;
esac
"""


class Words:
    """Slurm's commands on this machine, which say what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = SlurmExecutor("", folder / "tasks")
        self.task = TaskFolder.make(folder / "tasks", Task("one", (), {}, folder))

    def say(self, text: str) -> None:
        (self.folder / "says").write_text(f"{text}\n")

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def end(self, code: int) -> None:
        (self.task.path / "code").write_text(str(code))


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Words:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("squeue", "scancel", "sbatch"):
        (programs / name).write_text(PROGRAM.format(folder=tmp_path))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Words(tmp_path)


@pytest.mark.parametrize(
    "said", [BUSY, "slurm_load_jobs error: Zero Bytes were transmitted or received", "Unspecified"]
)
def test_a_controller_that_is_busy_says_nothing_of_a_job(words: Words, said: str) -> None:
    words.say(f"!{said}")
    for ask in (words.executor.status, words.executor.cancel):
        with pytest.raises(Unavailable):
            ask("7.one")
    assert not any(line.startswith("scancel") for line in words.asked)
    words.say("COMPLETED")  # nobody has asked for its end
    words.end(0)
    assert words.executor.status("7.one") == "ended"


def test_what_it_has_forgotten_went_as_its_folder_says(words: Words) -> None:
    words.say(f"!{FORGOTTEN}")
    assert words.executor.status("7.one") == "failed"
    words.end(0)
    assert words.executor.status("7.one") == "ended"


@pytest.mark.parametrize(
    ("state", "found"),
    [("PENDING", "waiting"), ("REQUEUED", "waiting"), ("RUNNING", "running"),
     ("COMPLETING", "running"), ("COMPLETED", "ended")],
)  # fmt: skip
def test_one_that_is_queued_again_has_not_ended(words: Words, state: str, found: str) -> None:
    """Its worker gave back what it ran, and the folder has a code until it begins again."""
    words.end(0)
    words.say(state)
    assert words.executor.status("7.one") == found


def test_one_that_is_queued_again_can_be_cancelled(words: Words) -> None:
    words.end(0)
    words.say("PENDING")
    words.executor.cancel("7.one")
    assert words.asked[-1] == "scancel 7"
    words.say("CANCELLED")
    assert words.executor.status("7.one") == "cancelled"


def test_one_that_has_ended_stays_as_it_is(words: Words) -> None:
    words.end(0)
    words.say("COMPLETED")
    words.executor.cancel("7.one")
    assert words.executor.status("7.one") == "ended"


def test_variables_of_whoever_asks_steer_neither_a_job_nor_a_question(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's `SBATCH_EXPORT=NONE` would leave out which registry the worker works in."""
    steers = ("SBATCH_EXPORT", "SBATCH_WAIT", "SBATCH_ARRAY_INX", "SQUEUE_PARTITION")
    for name in (*steers, "SCANCEL_PARTITION", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "NONE")
    words.say("8")
    words.executor.submit(Task("two", ("true",), {"ADAPTERS_HOME": "/shared"}, words.folder))
    assert "--export=ALL" in words.asked[0].split()
    words.say("PENDING")
    assert words.executor.status("7.one") == "waiting"
    words.executor.cancel("7.one")
    told = {*(words.folder / "environment").read_text().splitlines()}
    assert {"ADAPTERS_HOME=/shared", "SBATCH_ACCOUNT=NONE"} <= told
    assert not told & {f"{name}=NONE" for name in (*steers[1:], "SCANCEL_PARTITION")}


def test_what_a_job_waits_for_is_said_in_slurms_word(words: Words) -> None:
    words.say("QOSMaxGRESPerUser")
    assert words.executor.why("7.one") == "QOSMaxGRESPerUser"
    assert words.asked[-1].endswith("--format=%r")
    words.say("None")
    assert words.executor.why("7.one") == ""


def test_without_slurms_commands_nothing_is_known(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not that Slurm has forgotten the job."""
    monkeypatch.setenv("PATH", str(words.folder))
    with pytest.raises(NoPlace, match="login node"):
        words.executor.status("7.one")


def test_a_job_that_it_does_not_take_is_told_from_one_that_it_did_not_hear(words: Words) -> None:
    words.say(
        "!sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    )
    with pytest.raises(Unavailable, match="does not answer"):
        words.executor.submit(Task("two", ("true",), {}, words.folder))
    words.say("!sbatch: error: invalid partition specified: nowhere")
    with pytest.raises(Refused, match="invalid partition"):
        words.executor.submit(Task("three", ("true",), {}, words.folder))
