"""The command `adapters` in a process of its own that need not import everything anew.

`multiprocessing`'s server forks it: a clean process that has imported what every command imports,
and no library that reads its settings from the environment when it is imported (huggingface_hub).
That the installed command works when Python starts it is shown by the tests that start it so.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

_PRELOADED = [
    "adapterworks.app",
    "adapterworks.cli.main",
    "adapterworks.manifests.load",
    "adapterworks.registry.registry",
    "adapterworks.gateway.metering.meter",
    "adapterworks.gateway.tenants.admin",
    "rich.table",
    "sqlalchemy.dialects.sqlite",
]
# For what a test starts in processes of its own, too: forked from the same clean one.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(_PRELOADED)
# A process that starts looks whether others have ended, and takes the exit code that a thread
# beside it waits for: that one is then told 255.
_one_reads = threading.Lock()


def adapters(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run `adapters` with these arguments to its end."""
    with tempfile.TemporaryDirectory() as folder:
        given = (list(arguments), dict(env), str(cwd or Path.cwd()), folder)
        process = CONTEXT.Process(target=_command, args=given)
        with _one_reads:
            process.start()
        ended = multiprocessing.connection.wait([process.sentinel], timeout)
        if not ended:
            process.kill()
        with _one_reads:
            process.join()
        if not ended:
            raise subprocess.TimeoutExpired(["adapters", *arguments], timeout)
        told = [Path(folder, name).read_text(encoding="utf-8") for name in ("out", "err")]
        code = process.exitcode
        process.close()
    return subprocess.CompletedProcess(["adapters", *arguments], code, *told)


def _command(arguments: list[str], environment: dict[str, str], cwd: str, folder: str) -> None:
    """Be the command, as its script is."""
    for number, name in ((1, "out"), (2, "err")):
        with Path(folder, name).open("wb") as file:
            os.dup2(file.fileno(), number)
    assert "huggingface_hub" not in sys.modules
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["adapters", *arguments]
    from adapterworks.cli.main import main

    try:
        main()
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
