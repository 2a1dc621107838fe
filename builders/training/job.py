"""The training process: what it is given, how it is started, and how its failure comes back.

Invariant: the process dies with its parent, and holds the build's lock as long as it lives, so one
build directory is never written by two trainings.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.determinism import environment_of
from adapterworks.builders.training.events import Listener, parse_lines
from adapterworks.builders.training.failure import FAILURE, LOG, failure_of
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import place
from adapterworks.registry.bases.threads import waiting

# Ways of `accelerate` in which every process holds all weights.
REPLICATED = ("NO", "MULTI_CPU", "MULTI_GPU")
STOP = "stop"
"""The file in a build directory that asks its training to end."""
_POLL = 0.2


@dataclass(frozen=True)
class Job:
    """What `job.json` holds.

    Attributes:
        plan: what to train.
        checkpoint: the base's folder.
        pad: the token id of padding.
        parent: the process that the training must not outlive.
        until: stop at this step, for calibration.
        start: the folder of the adapter that is continued, if one is.
        reference: the folder of the adapter that is the reference, where it is one.
        engine: where an engine samples for it, if one does.
        reward: the folder of the reward's adapter, where a release rewards.
        separator: what its steps end with, where it judges steps.
        teacher: the folder of the teacher's adapter, where it has one.
        teacher_model: the folder of the teacher's own checkpoint, where it is not the policy's base
            that teaches.
        accelerate: where `train.accelerate_config` is on this machine.
        cards: the GPUs that it was promised, as CUDA calls them; empty: those that it sees.
    """

    plan: Plan
    checkpoint: str
    pad: int
    parent: int
    until: int | None = None
    accelerate: str | None = None
    start: str | None = None
    reference: str | None = None
    engine: str | None = None
    reward: str | None = None
    separator: str | None = None
    teacher: str | None = None
    teacher_model: str | None = None
    cards: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the job into a build directory."""
        values = {
            "plan": self.plan.model_dump(mode="json"),
            "checkpoint": self.checkpoint,
            "pad": self.pad,
            "parent": self.parent,
            "until": self.until,
            "accelerate": self.accelerate,
            "start": self.start,
            "reference": self.reference,
            "engine": self.engine,
            "reward": self.reward,
            "separator": self.separator,
            "teacher": self.teacher,
            "teacher_model": self.teacher_model,
            "cards": list(self.cards),
        }
        (folder / "job.json").write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read what `write` wrote."""
        values = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        # JSON has no tuples; the strict manifest models take them from JSON mode only.
        plan = Plan.model_validate_json(json.dumps(values.pop("plan")))
        return cls(plan=plan, cards=tuple(values.pop("cards", ())), **values)

    @property
    def launched(self) -> bool:
        """Whether a launcher starts its processes."""
        return self.accelerate is not None or self.plan.manifest.train.processes > 1

    def parent_watch(self) -> Listener:
        """A listener that ends the process when the build that started it is gone.

        Under `accelerate launch` the launcher is in between, so the build's own id is asked for.
        """

        def watch() -> None:
            while _alive(self.parent):
                time.sleep(1)
            os._exit(137)

        threading.Thread(target=watch, name="parent-watch", daemon=True).start()
        return lambda _: None


def run_job(job: Job, folder: Path, lock: int, listener: Listener) -> None:
    """Run the training process to its end, passing its events on as they are written.

    Args:
        job: what to train.
        folder: the build directory.
        lock: the build lock's file descriptor, which the process inherits.
        listener: receives every event.

    Raises:
        AdapterworksError: the training said so, with its own kind of error: `Refused` where it
            diverged or had too little memory, `InvalidInput` where a grader cannot read a row, and
            so on.
        Unavailable: the process ended without saying why (it was killed, or has a fault).
    """
    job.write(folder)
    (folder / FAILURE).unlink(missing_ok=True)
    (folder / STOP).unlink(missing_ok=True)
    events = _Tail(folder / "events.jsonl", listener)
    with (folder / LOG).open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [*_launcher(job), "-m", "adapterworks.builders.training.loop", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            # Without the working directory on the path, also in what a launcher starts: a file of
            # the user's called `registry.py` is never taken for a library's.
            env=os.environ | _environment(job),
            # A terminal's Ctrl-C reaches all that it started, and a launcher would kill by it.
            start_new_session=job.launched,
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL)
                events.pass_on()
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            _stop(process, job, folder, listener if interrupted else None)
            if interrupted:
                events.pass_on()
            raise
    events.pass_on()
    if process.returncode != 0:
        raise failure_of(folder, process.returncode, began)


def _stop(
    process: subprocess.Popen[bytes], job: Job, folder: Path, listener: Listener | None
) -> None:
    """Have the training end after its step, and wait for that; a second Ctrl-C ends it at once."""
    (folder / STOP).touch()
    try:
        if not job.launched:
            process.terminate()  # before its first step nothing is lost
        if listener is not None:
            listener({"event": "stopping"})
        process.wait()
    except BaseException:
        if job.launched:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        raise


def check_launcher(manifest: Manifest) -> str | None:
    """Where the manifest's `accelerate` configuration is; one that would be refused is.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no configuration of `accelerate`'s, or one of several machines, of which
            only the first has what is written; or one that shards the weights: then each process
            has a part of them, and what is written would be a part; or one of other processes than
            are planned for; or one that compiles the model.
    """
    train = manifest.train
    if manifest.train.accelerate_config is None:
        return None
    configuration = str(place(manifest.train.accelerate_config, manifest.folder))
    if not Path(configuration).is_file():
        raise NotFound(
            f"`train.accelerate_config` names `{configuration}`, which is no file",
            hint="a relative path is taken from the manifest's folder",
        )
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        loaded: Any = load_config_from_file(configuration)
    except Exception as error:  # whatever its parsers raise, it says why
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"`{configuration}` is not a configuration of `accelerate`: {reason}",
            hint="write one with `accelerate config --config_file FILE`",
        ) from error
    if (getattr(loaded, "num_machines", 1) or 1) > 1:
        raise InvalidInput(
            f"`{configuration}` has `num_machines: {loaded.num_machines}`, and a build is trained "
            "on one machine: checkpoints and the adapter are on the disk of the first alone",
            hint="set it to 1; `train.processes` uses several GPUs of a machine",
        )
    kind = str(getattr(loaded.distributed_type, "value", loaded.distributed_type))
    if kind not in REPLICATED:
        raise InvalidInput(
            f"`{configuration}` has `distributed_type: {kind}`, which is not trained here: "
            "checkpoints and releases of sharded weights would hold one process's part",
            hint=f"use one of {', '.join(f'`{name}`' for name in REPLICATED)}, or "
            '`train.processes`; for what does not fit one card, `train.sharding = "fsdp"` holds '
            "weights in parts as ZeRO's stage 3 does, and gathers what it writes",
        )
    said = getattr(loaded, "num_processes", -1)
    if kind == "NO" and train.processes > 1:
        raise InvalidInput(
            f"`{configuration}` has `distributed_type: NO`, which is one process, and "
            f"`train.processes` is {train.processes}",
            hint="set it to `MULTI_GPU`, or leave `train.accelerate_config` out",
        )
    if said not in (-1, train.processes):
        raise InvalidInput(
            f"`{configuration}` has `num_processes: {said}`, and `train.processes` is "
            f"{train.processes}, which memory, cards and micro batch are planned for",
            hint=f"set `train.processes` to {said}",
        )
    compiler = str((getattr(loaded, "dynamo_config", None) or {}).get("dynamo_backend", "no"))
    if compiler.lower() != "no":
        raise InvalidInput(
            f"`{configuration}` has `dynamo_backend: {compiler}`, and training does not compile",
            hint="leave `dynamo_config` out",
        )
    return configuration


def _launcher(job: Job) -> list[str]:
    processes = job.plan.manifest.train.processes
    if job.accelerate is not None:
        # The user's own set-up of machines and processes, in accelerate's format.
        launch = [sys.executable, "-P", "-m", "accelerate.commands.launch"]
        return [*launch, "--config_file", job.accelerate, "--num_processes", str(processes)]
    if not job.launched:
        return [sys.executable, "-P"]
    torchrun = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc-per-node", str(processes)]


def _environment(job: Job) -> dict[str, str]:
    found = {"TOKENIZERS_PARALLELISM": "false", "PYTHONSAFEPATH": "1", **waiting(os.environ)}
    found |= environment_of(job.plan, os.environ)
    if job.plan.manifest.train.processes > 1 and job.plan.device == "cpu":
        found |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    if job.cards:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(job.cards)
    return found


class _Tail:
    """Passes on what is written to an event log from now on, each event at most once: what the
    listener raises does not bring it back."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path, self._listener = path, listener
        self._start = path.stat().st_size if path.exists() else 0

    def pass_on(self) -> None:
        """Pass complete new lines on."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._start)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._start += len(whole)
        for event in parse_lines(whole):
            self._listener(event)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
