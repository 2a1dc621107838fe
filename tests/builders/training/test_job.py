"""The training process: what it is given, and how its failure comes back."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training import job as job_module
from adapterworks.builders.training import loop, model
from adapterworks.builders.training.batches import save_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.failure import failure_of, out_of_memory
from adapterworks.builders.training.job import Job, check_launcher, run_job
from adapterworks.builders.training.loop import Trainer
from adapterworks.manifests.errors import (
    AdapterworksError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from tests.builders.build_support import manifest_for
from tests.builders.training.bench import VALIDATION, Bench
from tests.builders.training.by_hand import (
    examples,
)


def written_job(bench: Bench, plan: Plan, **changes: Any) -> Path:
    folder = bench.folder / "build"
    folder.mkdir()
    save_encoded(
        folder / "encoded.safetensors", {"train": examples(), "validation": examples(VALIDATION)}
    )
    job = replace(Job(plan, str(bench.folder), 6, os.getpid()), **changes)
    job.write(folder)
    return folder


def test_a_job_is_trained_in_its_folder(bench: Bench) -> None:
    plan = bench.plan()
    folder = written_job(bench, plan)
    assert loop.main(folder) == 0
    bench.trainer(plan, "same").run()
    written = load_file(folder / "train/adapter/adapter_model.safetensors")["table"]
    assert torch.equal(written, bench.table("same"))
    assert len([e for e in read_events(folder / "events.jsonl") if e["event"] == "step"]) == 9


def test_the_process_ends_with_what_came_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m adapterworks.builders.training.loop BUILD_DIRECTORY`."""
    folder = written_job(bench, bench.plan(max_steps=1))
    monkeypatch.setattr(model, "build_model", bench.model)
    monkeypatch.setattr(sys, "argv", ["loop", str(folder), "elsewhere"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(loop.__file__), run_name="__main__")
    assert caught.value.code == 0
    assert json.loads((folder / "train" / "result.json").read_text())["steps"] == 1


def test_a_job_may_end_early(bench: Bench) -> None:
    folder = written_job(bench, bench.plan(), until=3)
    assert loop.main(folder) == 0
    assert json.loads((folder / "train" / "result.json").read_text())["steps"] == 3


class NoColumn(InvalidInput):
    """An error that no one but the training knows."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("it diverged", hint="do less"), Refused),
        (Unavailable("the judge does not answer", hint="wait"), Unavailable),
        (NoColumn("grader `worth` reads `code`", hint="name it"), InvalidInput),
    ],
)
def test_what_ends_a_job_comes_back_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: AdapterworksError, kind: type[Exception]
) -> None:
    """A judge that is away may be tried again; a grader that cannot read a row may not."""
    folder = written_job(bench, bench.plan())

    def end(self: Trainer, until: int | None) -> None:
        raise error

    monkeypatch.setattr(Trainer, "run", end)
    assert loop.main(folder) == 1
    back = failure_of(folder, 1)
    assert (type(back), back.message, back.hint) == (kind, error.message, error.hint)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
    ids=["allocator", "runtime", "cpu", "python"],
)  # fmt: skip
def test_too_little_memory_is_told_with_what_takes_less(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It would end alike if it were tried again, so it is no reason to wait."""

    def end(self: Trainer, until: int | None) -> None:
        raise error

    monkeypatch.setattr(Trainer, "run", end)
    folder = written_job(bench, bench.plan().model_copy(update={"micro_batch": 4}))
    assert loop.main(folder) == 1
    back = failure_of(folder, 1)
    assert type(back) is Refused
    assert back.message.startswith("the training ran out of memory: its plan foresaw ")
    assert "set `train.micro_batch_size` below 4 or" in str(back.hint)
    assert str(back.hint).endswith("then `--resume`")


def test_what_takes_no_less_memory_is_not_advised(bench: Bench) -> None:
    least = bench.plan(gradient_checkpointing=True).model_copy(update={"micro_batch": 1})
    assert "--resume" not in str(out_of_memory(least).hint)


def test_another_fault_of_the_arithmetic_is_none_of_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(self: Trainer, until: int | None) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Trainer, "run", end)
    with pytest.raises(RuntimeError, match="mat1"):
        loop.main(written_job(bench, bench.plan()))


def test_a_job_comes_back_from_its_file(bench: Bench, tmp_path: Path) -> None:
    job = Job(bench.plan(), "/bases/tiny", 7, 4321, until=5, accelerate="/a.yaml")
    job.write(tmp_path)
    assert Job.read(tmp_path) == job
    plain = Job(bench.plan(trackers=["tensorboard"]), "/bases/tiny", 7, 4321)
    plain.write(tmp_path)
    assert Job.read(tmp_path) == plain
    assert (plain.until, plain.accelerate) == (None, None)


def test_the_users_own_launcher_stands_in_front(bench: Bench) -> None:
    job = Job(bench.plan(), "/bases/tiny", 7, 4321)
    assert job_module._launcher(job) == [sys.executable, "-P"]
    assert "ACCELERATE_USE_CPU" not in job_module._environment(job)
    assert job_module._launcher(replace(job, accelerate="/a.yaml")) == [
        sys.executable, "-P", "-m", "accelerate.commands.launch", "--config_file", "/a.yaml",
        "--num_processes", "1",
    ]  # fmt: skip


def test_threads_that_wait_leave_a_core_to_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training is another process: whoever starts one by a program has what the command has."""
    job = Job(bench.plan(), "/bases/tiny", 7, 4321)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert job_module._environment(job)["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in job_module._environment(job)


def test_several_processes_are_launched_without_a_configuration(bench: Bench) -> None:
    job = Job(bench.plan(processes=2), "/bases/tiny", 7, 4321)
    assert job_module._launcher(job) == [
        sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        "2",
    ]  # fmt: skip
    environment = job_module._environment(job)
    assert environment["ACCELERATE_USE_CPU"] == "true"
    assert environment["PYTHONSAFEPATH"] == "1"


def test_a_training_sees_the_cards_of_its_promise(bench: Bench, tmp_path: Path) -> None:
    job = Job(bench.plan(), "/bases/tiny", 7, 4321, cards=("GPU-b", "GPU-a"))
    assert job_module._environment(job)["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"
    assert "CUDA_VISIBLE_DEVICES" not in job_module._environment(replace(job, cards=()))
    job.write(tmp_path)
    assert Job.read(tmp_path) == job


class Child:
    """A build directory and a program that stands where the training would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.heard: list[Any] = []
        self._monkeypatch = monkeypatch

    def run(self, program: str, job: Job) -> None:
        script = self.folder / "child.py"
        script.write_text(f"import json, os, sys\nfolder = sys.argv[-1]\n{program}")
        launcher = [sys.executable, "-P", str(script)]
        self._monkeypatch.setattr(job_module, "_launcher", lambda configuration: launcher)
        self._monkeypatch.setattr(job_module, "_POLL", 0.01)
        with (self.folder / "lock").open("w") as lock:
            run_job(job, self.folder, lock.fileno(), self.heard.append)


SAY = """
def say(line, end="\\n"):
    with open(folder + "/events.jsonl", "a") as file:
        file.write(line + end)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    return Child(tmp_path, monkeypatch)


def test_events_are_passed_on_each_once_and_none_of_an_earlier_run(
    child: Child, bench: Bench
) -> None:
    (child.folder / "events.jsonl").write_text('{"n":0}\n')
    program = f"""{SAY}
say('{{"n":1}}')
say('{{"n":', end="")
say('2}}')
say('{{"n":3}}\\n{{"n":4', end="")
"""
    child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))
    assert child.heard == [{"n": 1}, {"n": 2}, {"n": 3}], "the last line was never ended"


def test_an_event_is_heard_while_the_training_runs(child: Child, bench: Bench) -> None:
    """The training ends when its first event was heard."""
    program = f"""{SAY}
import time
say('{{"n":1}}')
until = time.monotonic() + 60
while not os.path.exists(folder + "/heard") and time.monotonic() < until:
    time.sleep(0.01)
sys.exit(0 if os.path.exists(folder + "/heard") else 9)
"""
    child.heard = type("Heard", (list,), {})()
    child.heard.append = lambda event: (child.folder / "heard").touch()  # type: ignore[method-assign]
    child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))


ENDS_WHEN_ASKED = f"""{SAY}
import signal, time
def hear(number, frame):
    open(folder + "/signalled", "w")
signal.signal(signal.SIGTERM, hear)
say('{{"event":"step"}}')
until = time.monotonic() + 60
while not os.path.exists(folder + "/stop") and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(SECONDS)
say('{{"event":"checkpoint"}}')
"""


class Interrupts(list[Any]):
    """Ctrl-C, as soon as there is a step."""

    def append(self, event: Any) -> None:
        super().append(event["event"])
        if event["event"] == "step":
            raise KeyboardInterrupt


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_build_waits_for_what_its_training_saves(
    child: Child, bench: Bench, processes: int
) -> None:
    """A launcher is sent no signal: torchrun would kill its processes 30 seconds later."""
    child.heard = Interrupts()
    job = Job(bench.plan(processes=processes), "/bases/tiny", 1, os.getpid())
    with pytest.raises(KeyboardInterrupt):
        child.run(ENDS_WHEN_ASKED.replace("SECONDS", "0.5"), job)
    assert child.heard == ["step", "stopping", "checkpoint"]
    assert (child.folder / "signalled").exists() == (processes == 1)


def test_a_second_interruption_ends_it_at_once(
    child: Child, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, again = subprocess.Popen.wait, iter([True])

    def wait(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if next(again, False):
            raise KeyboardInterrupt
        return own(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    child.heard = Interrupts()
    job = Job(bench.plan(), "/bases/tiny", 1, os.getpid())
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        child.run(ENDS_WHEN_ASKED.replace("SECONDS", "600"), job)
    assert time.monotonic() - began < 60
    assert child.heard == ["step", "stopping"]


def test_what_an_earlier_build_asked_is_forgotten(child: Child, bench: Bench) -> None:
    (child.folder / "stop").touch()
    program = "sys.exit(os.path.exists(folder + '/stop'))"
    child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))


def test_what_the_training_is_started_with(child: Child, bench: Bench) -> None:
    """The lock's file, which lives as long as the process; no working directory on its path."""
    program = """
names = ("PYTHONSAFEPATH", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE")
links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n != "0"
         and os.path.exists(f"/proc/self/fd/{n}")]
found = {"arguments": sys.argv[1:], "job": os.path.exists(folder + "/job.json"),
         "lock": folder + "/lock" in links, "read": sys.stdin.read(),
         "failed": os.path.exists(folder + "/failure.json"),
         **{name: os.environ.get(name) for name in names}}
open(folder + "/found.json", "w").write(json.dumps(found))
print("on stdout"); print("on stderr", file=sys.stderr)
"""
    (child.folder / "failure.json").write_text("{}")
    (child.folder / "train.log").write_text("before\n")
    child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))
    assert json.loads((child.folder / "found.json").read_text()) == {
        "arguments": ["-m", "adapterworks.builders.training.loop", str(child.folder)],
        "job": True, "lock": True, "read": "", "failed": False, "PYTHONSAFEPATH": "1",
        "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    assert sorted((child.folder / "train.log").read_text().splitlines()) == [
        "before", "on stderr", "on stdout",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "error", "message", "hint"),
    [
        (
            """written = {"error": "NotFound", "message": "no", "hint": "do"}
open(folder + "/failure.json", "w").write(json.dumps(written))
sys.exit(1)""",
            NotFound, "no", "do",
        ),
        ("os.kill(os.getpid(), 9)", Unavailable, "was killed", "`train.micro_batch_size`"),
        ("sys.exit(137)", Unavailable, "was killed", "`--resume`"),
        ("print('one'); print('last'); sys.exit(3)", Unavailable, "exit code 3: last", "train.log"),
        ("sys.exit(3)", Unavailable, "exit code 3: no output", "train.log"),
    ],
)  # fmt: skip
def test_a_failure_comes_back_with_its_reason(
    child: Child, bench: Bench, program: str, error: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))
    assert hint in str(caught.value.hint)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("codes", "said", "message"),
    [
        ({1: -9}, {}, "was killed, most likely for want of memory"),
        pytest.param(
            {0: 1, 1: -15},
            {0: ["[rank0]: Traceback (most recent call last):", "[rank0]: ValueError: no column"]},
            "failed with exit code 1: ValueError: no column$",
            marks=pytest.mark.slow,
        ),
        (
            {0: 1, 1: 1},
            {0: ["[rank0]: ValueError: no column"], 1: ["[rank1]: RuntimeError: peer is gone"]},
            "exit code 1: ValueError: no column$",
        ),
        pytest.param(
            {0: 3},
            {0: ["one", "the last word"]},
            "exit code 3: the last word$",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["killed", "raised", "raised in both", "silent"],
)
def test_of_several_processes_the_one_that_failed_first_says_why(
    child: Child,
    bench: Bench,
    codes: dict[int, int],
    said: dict[int, list[str]],
    message: str,
) -> None:
    """What is started is the launcher, whose report ends with a line of `=`."""
    lines = [line for rank in sorted(said) for line in said[rank]]
    failures = {rank: (code, 10 + rank) for rank, code in codes.items()}
    program = f"""
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
for line in {lines!r}:
    print(line, file=sys.stderr)
failures = {{}}
for rank, (code, pid) in {failures!r}.items():
    failures[rank] = ProcessFailure(rank, pid, code, "")
    failures[rank].timestamp = rank
raise ChildFailedError("adapterworks.builders.training.loop", failures)
"""
    (child.folder / "train.log").write_text("OSError: of the run before\n")
    with pytest.raises(Unavailable, match=f"(?m){message}"):
        child.run(program, Job(bench.plan(processes=2), "/bases/tiny", 1, os.getpid()))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("os.kill(os.getpid(), 9)", "was killed, most likely for want of memory"),
        ("raise ValueError('no column')", "exit code 1: ValueError: no column$"),
    ],
)
def test_what_accelerate_launches_says_why(
    child: Child, bench: Bench, ends: str, message: str
) -> None:
    """`accelerate launch` of one process ends with an error of its own about the command."""
    program = f"""
import subprocess
command = [sys.executable, "-c", {f"import os; {ends}"!r}]
code = subprocess.run(command).returncode
if code:
    raise subprocess.CalledProcessError(returncode=code, cmd=command)
"""
    with pytest.raises(Unavailable, match=f"(?m){message}"):
        child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))


def test_a_build_that_is_interrupted_ends_its_training(child: Child, bench: Bench) -> None:
    program = f"""{SAY}
import time
open(folder + "/process", "w").write(str(os.getpid()))
say('{{"n":1}}')
time.sleep(600)
"""

    class Interrupting(list):  # type: ignore[type-arg]
        def append(self, event: object) -> None:
            raise KeyboardInterrupt

    child.heard = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        child.run(program, Job(bench.plan(), "/bases/tiny", 1, os.getpid()))
    assert not job_module._alive(int((child.folder / "process").read_text()))


def test_a_process_is_asked_for_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda process, signal: sent.append((process, signal)))
    assert job_module._alive(77)
    assert sent == [(77, 0)], "signal 0 is none"


def test_a_process_that_has_ended_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not job_module._alive(process.pid)


def test_a_thread_that_holds_nothing_up_looks_for_the_build(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    slept: list[float] = []
    answers = {77: iter([True, True, False])}

    class Thread:
        def __init__(self, **options: Any) -> None:
            made.update(options)

        def start(self) -> None:
            made["started"] = True

    def ended(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(threading, "Thread", Thread)
    # Trainings of other tests, which ran in this process, are watched to its end by theirs.
    own = threading.current_thread()

    def sleep(seconds: float) -> None:
        if threading.current_thread() is own:
            slept.append(seconds)
        else:
            time.sleep(seconds)

    monkeypatch.setattr(job_module, "_alive", lambda one: one not in answers or next(answers[one]))
    monkeypatch.setattr(job_module, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(os, "_exit", ended)
    listener = Job(bench.plan(), "/bases/tiny", 1, 77).parent_watch()
    assert listener({"event": "step"}) is None
    assert made["started"]
    assert made["daemon"], "else a training would never end before its build"
    with pytest.raises(SystemExit) as caught:
        made["target"]()
    assert caught.value.code == 137
    assert len(slept) == 2
    assert min(slept) > 0


def test_a_training_does_not_outlive_its_build(bench: Bench, tmp_path: Path) -> None:
    """Its build has ended: the process that watches ends with the code of one that was killed."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    Job(bench.plan(), "/bases/tiny", 1, process.pid).write(tmp_path)
    program = (
        "import sys, threading; from pathlib import Path\n"
        "from adapterworks.builders.training.job import Job\n"
        "Job.read(Path(sys.argv[1])).parent_watch()({})\n"
        "threading.Event().wait(120)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=180, check=False)
    assert ended.returncode == 137


def test_a_configuration_of_accelerates_is_read_before_anything_is_done(tmp_path: Path) -> None:
    given = {"accelerate_config": "launch.yaml"}
    manifest = manifest_for("lora", **given).placed_in(tmp_path)
    assert check_launcher(manifest_for("lora")) is None
    with pytest.raises(NotFound, match=r"`train.accelerate_config` names .*launch.yaml"):
        check_launcher(manifest)
    (tmp_path / "launch.yaml").write_text("- a\n- list\n")
    with pytest.raises(InvalidInput, match="is not a configuration of `accelerate`"):
        check_launcher(manifest)
    (tmp_path / "launch.yaml").write_text("distributed_type: 'NO'\nuse_cpu: true\n")
    assert check_launcher(manifest) == str(tmp_path / "launch.yaml")
    (tmp_path / "launch.yaml").write_text("distributed_type: 'NO'\nnum_machines: 1\n")
    assert check_launcher(manifest) == str(tmp_path / "launch.yaml")


def test_processes_of_a_configuration_are_the_plans(tmp_path: Path) -> None:
    """Memory, micro batch and cards are planned for as many as train."""

    def checked(text: str, processes: int) -> str | None:
        (tmp_path / "launch.yaml").write_text(f"num_machines: 1\n{text}")
        table = {"accelerate_config": "launch.yaml", "processes": processes}
        return check_launcher(manifest_for("lora", **table).placed_in(tmp_path))

    eight = "distributed_type: MULTI_GPU\nnum_processes: 8\n"
    with pytest.raises(InvalidInput, match=r"`num_processes: 8`, and `train.processes` is 1"):
        checked(eight, 1)
    assert checked(eight, 8) is not None
    assert checked("distributed_type: MULTI_GPU\n", 2) is not None
    with pytest.raises(InvalidInput, match=r"which is one process, and `train.processes` is 2"):
        checked("distributed_type: 'NO'\n", 2)


def test_a_configuration_that_compiles_is_refused(tmp_path: Path) -> None:
    """Probes and the projection put hooks on a model that would be compiled by then."""
    manifest = manifest_for("lora", accelerate_config="launch.yaml").placed_in(tmp_path)
    text = "distributed_type: 'NO'\nnum_processes: 1\ndynamo_config:\n  dynamo_backend: {}\n"
    (tmp_path / "launch.yaml").write_text(text.format("INDUCTOR"))
    with pytest.raises(InvalidInput, match=r"`dynamo_backend: INDUCTOR`, and training does not"):
        check_launcher(manifest)
    (tmp_path / "launch.yaml").write_text(text.format("'NO'"))
    assert check_launcher(manifest) == str(tmp_path / "launch.yaml")


@pytest.mark.parametrize("kind", ["'NO'", "MULTI_GPU", "FSDP"])
def test_a_configuration_of_several_machines_is_refused(tmp_path: Path, kind: str) -> None:
    """What a training writes is on the first one's disk: the others would end with a trace."""
    manifest = manifest_for("lora", accelerate_config="launch.yaml").placed_in(tmp_path)
    text = f"distributed_type: {kind}\nnum_machines: 2\nmachine_rank: 1\n"
    (tmp_path / "launch.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"`num_machines: 2`, and a build is trained on one"):
        check_launcher(manifest)
