"""A vLLM process of our own: started, watched, restarted, and never left behind.

Invariant: there is at most one process at a time; each one that comes up is a new generation. The
engine listens on a unix socket in a folder only we can enter, with a key of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from adapterworks.gateway.config.tables import SupervisorTable
from adapterworks.gateway.engines.client import KEEP_SECONDS, HttpEngine
from adapterworks.gateway.engines.launch import EngineSpec, command
from adapterworks.gateway.engines.log import reason_from_log
from adapterworks.gateway.engines.patience import Patience, processor_seconds
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.manifests.errors import AdapterworksError, Unavailable

MISSED_PROBES = 10
STABLE_SECONDS = 60.0
FAILED_STARTS = 3  # whoever needs an answer now waits for so many
_POLL_SECONDS = 0.25


class LocalEngine(HttpEngine):
    """A supervised engine.

    Args:
        run: folder for the log (`engine-ID.log`).
        say: called with every new reason while it starts.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        run: Path,
        supervisor: SupervisorTable,
        request_seconds: float,
        say: Callable[[str], None] = lambda reason: None,
    ) -> None:
        super().__init__(
            spec.id,
            spec.base,
            slots=spec.max_loras,
            capacity=spec.max_cpu_loras,
            parallel=spec.max_num_seqs,
            forms=frozenset(spec.forms),
            key=secrets.token_urlsafe(32),
            request_seconds=request_seconds,
            context=spec.max_model_len,
        )
        self.spec = spec
        self.log = run / f"engine-{spec.id}.log"
        self._say = say
        self._times = supervisor
        # Socket paths are limited to about 100 characters, so it cannot live under the home.
        self._folder = Path(tempfile.mkdtemp(prefix="adapters-engine-"))
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed = 0  # starts in a row that ended before it answered

    @property
    def pid(self) -> int | None:
        """Of the guard that owns the engine's process group."""
        return self._process.pid if self._process else None

    async def start(self, supervisor: Supervisor | None = None) -> None:
        """Begin to supervise; returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        connector = aiohttp.UnixConnector(
            str(self._socket), limit=0, keepalive_timeout=KEEP_SECONDS
        )
        self._open(connector, "http://engine", str(self._socket))
        self._task = (supervisor or Supervisor()).task(f"engine {self.id}", self._supervise)

    async def stop(self) -> None:
        """End the process and its children; idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._end()
        self._became("stopped", "stopped")
        await self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def ready(self) -> None:
        """Wait for the first generation.

        Raises:
            Unavailable: the first start failed; later failures are retried with back-off.
        """
        while self._generation == 0:
            if self._state == "down":
                raise Unavailable(
                    f"the engine of base `{self.base.name}` did not start: {self._reason}",
                    hint=f"its log is `{self.log}`",
                )
            await asyncio.sleep(0.1)

    async def another(self, generation: int) -> bool:
        """Whether another process answers in place of this generation's; waits for one that starts.

        Raises:
            Unavailable: it is stopped, or did not come up again however often it was started.
        """
        while self._state == "ready" and self._generation == generation:
            if await self._healthy():
                return False
            await asyncio.sleep(_POLL_SECONDS)  # its end is not seen yet
        while self._state != "ready":
            if self._state == "stopped" or self._failed >= FAILED_STARTS:
                raise Unavailable(
                    f"the engine of base `{self.base.name}` ended and did not come up again: "
                    f"{self._reason}",
                    hint=f"its log is `{self.log}`",
                )
            await asyncio.sleep(_POLL_SECONDS)
        return True

    @property
    def _socket(self) -> Path:
        return self._folder / "engine.sock"

    async def _supervise(self, worker: Worker) -> None:
        backoff = self._times.backoff_initial
        while True:
            started, before = time.monotonic(), self._generation
            try:
                reason = await self._run_once()
            finally:
                await self._end()  # also if starting it failed in a way that nobody thought of
            worker.beat()
            self._failed = 0 if self._generation > before else self._failed + 1
            if time.monotonic() - started > STABLE_SECONDS:
                backoff = self._times.backoff_initial
            self._became("down", reason)
            self._say(f"{reason}; starting again in {backoff:.0f} s")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, self._times.backoff_max)

    async def _run_once(self) -> str:
        """One life of the process; returns why it ended."""
        self._became("starting", "starting the process")
        self._socket.unlink(missing_ok=True)
        arguments, environment = command(self.spec, self._socket, self._key or "")
        if self.log.exists():  # of the run before: why it ended stands at its end
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "adapterworks.gateway.engines.guard",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
            )
        ended = asyncio.create_task(self._process.wait())
        try:
            return await self._come_up(ended) or await self._watch(ended)
        finally:
            ended.cancel()

    async def _come_up(self, ended: asyncio.Task[int]) -> str | None:
        """Wait until it answers; returns why it did not."""
        began = time.monotonic()
        patience = Patience(self._times.start_timeout, began)
        while not patience.ended(time.monotonic(), self._processor_seconds()):
            if ended.done():
                return f"exited with {ended.result()}: {reason_from_log(self.log)}"
            if self._socket.exists() and await self._healthy():
                # What is made at a first request is made before anybody's; a fault shows by then.
                self._prober.forget()
                with contextlib.suppress(AdapterworksError):
                    await self.can_score_prompts()
                self._became_ready()
                self._say(f"ready after {time.monotonic() - began:.0f} s")
                return None
            reason = reason_from_log(self.log)
            if reason != self._reason:
                self._became("starting", reason)
                self._say(reason)
            await asyncio.sleep(_POLL_SECONDS)
        return f"did not answer within {time.monotonic() - began:.0f} s: {self._reason}"

    def _processor_seconds(self) -> float:
        return processor_seconds(self._process.pid) if self._process else 0.0

    async def _watch(self, ended: asyncio.Task[int]) -> str:
        """Wait until it ends or stops answering; returns which."""
        missed = 0
        while missed < MISSED_PROBES:
            done, _ = await asyncio.wait({ended}, timeout=self._times.health_interval)
            if done:
                return f"exited with {ended.result()}: {reason_from_log(self.log)}"
            missed = 0 if await self._healthy() else missed + 1
        return f"did not answer {MISSED_PROBES} health checks"

    async def _end(self) -> None:
        """End the present process; the guard does it when its standard input closes."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
