"""`adapters serve` as a process of its own, on engines given by their URLs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from bench import apart
from tests.forked import adapters
from tests.small_base import SMALL_BASES
from tests.warm.python import COMMAND, warm_python

ADAPTERS = [str(Path(sys.executable).with_name("adapters"))]


class Serving:
    """A gateway process; it starts at once, `wait_ready` waits for it.

    Args:
        engines: URLs, all of the same base.
        environment: settings besides the home and the bases; proofs are off.
        installed: started by the installed command, with Python's own start, instead of forked from
            a process that has imported what a gateway does.
    """

    def __init__(
        self,
        home: Path,
        engines: Sequence[str],
        *options: str,
        environment: Mapping[str, str] | None = None,
        installed: bool = False,
    ) -> None:
        own = {"ADAPTERS_GATEWAY_TRUST__PROOF": "off", **(environment or {})}
        self.env = {**apart.environment(home, bases=SMALL_BASES), **own}
        self.home = home
        self.url = ""
        started = ADAPTERS if installed else [warm_python("gateway"), "-P", "-c", COMMAND]
        command = ["serve", "--port", "0", "--base", "smollm2-135m-instruct"]
        for engine in engines:
            command += ["--engine", engine]
        # A file, not a pipe: nobody reads while it runs, and a full pipe would block it.
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `end`)
        self.process = subprocess.Popen(
            [*started, *command, *options],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `adapters` command with the same settings."""
        return adapters(arguments, env=self.env, timeout=300)

    def wait_ready(self) -> None:
        """Wait until it says where it listens and that it can answer."""
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), self.end()
        deadline = time.monotonic() + 300
        while httpx.get(self.url + "/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def told(self) -> str:
        """What it wrote to stderr so far; its place in the file is the process's too."""
        return os.pread(self._told.fileno(), 1 << 20, 0).decode()

    def end(self) -> str:
        """Kill it if it still runs; returns what it wrote to stderr."""
        self.process.kill()
        self.process.communicate()
        self._told.seek(0)
        with self._told:
            return self._told.read()
