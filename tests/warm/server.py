"""The process that `python.py` starts: it has done the heavy imports and forks for every command.

    python -P server.py KIND FOLDER        until nobody holds the other end of its standard input

A client (`client.py`) sends its arguments, environment, folder and open files. A handler of its own
forks the command, passes signals on, and sends its exit code. The server itself computes nothing
and has one thread, so that a fork of it is sound: no pool of threads, no lock that is held.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

# What commands and trainings import, and what takes seconds of it.
_BUILD = (
    "torch",
    "torch.utils.data",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.generation",
    "transformers.quantizers.auto",
    "accelerate",
    "peft",
    "matplotlib.pyplot",
    "adapterworks.cli.main",
    "adapterworks.app",
    "adapterworks.builders.training.loop",
    "adapterworks.builders.building.run",
    "adapterworks.builders.evaluation.evaluate",
    "adapterworks.builders.rebuilding.rebuild",
    "adapterworks.cli.build",
    "adapterworks.cli.evaluate",
    "adapterworks.cli.plan",
    "adapterworks.cli.tables",
    "adapterworks.cli.validate",
    "adapterworks.cli.verify",
)
_ENGINE = (
    "torch",
    "vllm.entrypoints.openai.api_server",
    "vllm.v1.engine.core",
    "vllm.v1.executor.multiproc_executor",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.models.llama",
    "adapterworks.gateway.engine_plugin",
    "adapterworks.gateway.engines.guard",
)
# No torch: what a gateway and other commands import when they are not building.
_GATEWAY = (
    "uvloop",
    "psycopg",
    "oidc_provider_mock",  # an issuer to log in with
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "adapterworks.app",
    "adapterworks.cli.main",
    "adapterworks.cli.bash",
    "adapterworks.cli.completion",
    "adapterworks.cli.serve",
    "adapterworks.cli.worker",
    "adapterworks.gateway.config.load",
    "adapterworks.gateway.http.server",
    "adapterworks.registry.registry",
    "adapterworks.workers.worker",
)
HEAVY = {"build": _BUILD, "engine": _ENGINE, "gateway": _GATEWAY}


def _serve(folder: Path, *, grouped: bool) -> None:
    path = folder / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)  # who sees it can connect
    while True:
        ready, _, _ = select.select([listener, 0], [], [], 1.0)
        _reap()
        if 0 in ready and _left(folder):
            return
        if listener in ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                try:
                    listener.close()
                    _handle(connection, grouped=grouped)
                finally:  # never on as a second server
                    os._exit(1)
            connection.close()


def _left(folder: Path) -> bool:
    """Whether nobody needs this server, and what is in its folder is gone."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if os.read(0, 1) != b"":
                return False
        except BlockingIOError:  # somebody came in the meantime
            return False
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # another kind is still there
            folder.parent.rmdir()
    return True


def _reap() -> None:
    """Take in handlers that have ended, and their processor time with them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _handle(connection: socket.socket, *, grouped: bool) -> None:
    """Fork the command that a client asks for, and stay beside it until it has ended.

    Its name is `of PID`, the client's, so that a test can find what is behind a client.

    Args:
        grouped: what the command started ends with it. An engine's guard ends the group of the
            process that it started, in which there are only clients.
    """
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    Path("/proc/self/comm").write_text(f"of {int.from_bytes(peer[:4], sys.byteorder)}")
    data, files, _, _ = socket.recv_fds(connection, 1 << 20, 250)
    size, _, data = data.partition(b"\n")
    while len(data) < int(size):
        more = connection.recv(1 << 20)
        if not more:
            return  # the client was killed
        data += more
    request = json.loads(data)
    worker = os.fork()
    if worker == 0:
        try:
            connection.close()
            if grouped:
                os.setsid()
            _become(request, dict(zip(request["files"], files, strict=True)))
        finally:
            os._exit(1)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(worker)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            break
        said = connection.recv(1)
        os.kill(worker, said[0] if said else signal.SIGKILL)
        if not said:
            break
    if grouped:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with contextlib.suppress(OSError):  # the client is gone
        connection.sendall(str(code).encode())


def _become(request: dict[str, Any], files: dict[int, int]) -> None:
    """Be the Python that was asked for; never returns."""
    Path("/proc/self/comm").write_text("python")
    # Out of the way first: a number that is asked for may be another file's here.
    high = {number: fcntl.fcntl(file, fcntl.F_DUPFD, 300) for number, file in files.items()}
    os.closerange(3, 300)
    for number, file in high.items():
        os.dup2(file, number, inheritable=number < 3)
    os.closerange(300, 1000)
    # As a Python has them that begins with these files: the template's may have been of another
    # kind (a file, where this is a pipe), which they remember.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    options, rest = [], list(request["arguments"])
    while rest and rest[0].startswith("-") and rest[0] not in ("-c", "-m"):
        options.append(rest.pop(0))
    safe = "-P" in options or bool(os.environ.get("PYTHONSAFEPATH"))
    way, what, *arguments = rest
    first = [] if safe else [str(Path.cwd()) if way == "-m" else ""]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*first, *given, *(path for path in BARE if path not in given)]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    sys.argv = ["-c" if way == "-c" else what, *arguments]
    sys.executable = request["python"]
    multiprocessing.set_executable(sys.executable)  # as what is started in its turn is
    _end(lambda: _run(way, what))


def _run(way: str, what: str) -> None:
    if way == "-m":
        sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


def _end(command: Any) -> None:
    """Run it and exit as Python does."""
    code: Any = 0
    try:
        command()
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code or 0)


BARE: list[str] = []

if __name__ == "__main__":
    own = {path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    BARE[:] = [path for path in sys.path if path not in own]
    with warnings.catch_warnings(action="ignore"):
        for name in HEAVY[sys.argv[1]]:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    _serve(Path(sys.argv[2]), grouped=sys.argv[1] == "engine")
