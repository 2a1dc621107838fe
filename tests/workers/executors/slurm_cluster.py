"""A real Slurm on this machine, in a folder of its own: munged, slurmctld, one slurmd a node."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0
PARTITION = "test"
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
SlurmctldParameters=idle_on_node_suspend
KillWait=5
{nodes}
PartitionName={partition} Nodes=ALL Default=YES State=UP
"""


@dataclass
class Cluster:
    """What runs.

    Attributes:
        environment: with it, Slurm's commands talk to this cluster.
    """

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout


def is_there() -> bool:
    """Whether Slurm and munge are installed, and may be started."""
    return os.geteuid() == 0 and all(map(shutil.which, ("slurmctld", "slurmd", "munged")))


@contextlib.contextmanager
def cluster(folder: Path, *, nodes: int) -> Iterator[Cluster]:
    """Start it, wait until every node is idle, and end it."""
    host = socket.gethostname()
    for name in ("state", *(f"spool-n{number}" for number in range(nodes))):
        (folder / name).mkdir(parents=True)
    lines = [
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={_port()} CPUs=1"
        for number in range(nodes)
    ]
    text = _CONFIGURATION.format(
        host=host, control=_port(), folder=folder, nodes="\n".join(lines), partition=PARTITION
    )
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{Path(command[0]).name}.out").open("ab"))
            env = {**os.environ, **environment}
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
            stack.callback(_end, process)
            return process

        start(
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
            f"--key-file={key}", f"--log-file={folder}/munge.log",
            f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        _until(lambda: (folder / "munge.socket").exists(), folder)
        start("slurmctld", "-D", "-c")
        for number in range(nodes):
            start("slurmd", "-D", "-N", f"n{number}")
        found = Cluster(folder, environment)

        def idle() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                return found.run("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * nodes
            return False

        _until(idle, folder)
        yield found


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _until(true: object, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        said = "".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log"))
        said += "".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.out"))
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
