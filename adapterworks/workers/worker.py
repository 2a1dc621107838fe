"""The worker: claims a job, has a process of its own run it, and holds the claim meanwhile.

Invariants:
- the process that runs a job dies with the worker, and is ended as soon as the claim is lost or
  its owner asks for a pause or an end;
- whatever happens here, the job is given back, or its lease runs out and another worker takes it;
- what a job has laid out on disk is cleared by its last worker, never by one that has lost it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, folders, lookup, queue
from adapterworks.registry.jobs.job import BUILD_LANE, OPERATOR, Again, Claim, Given, Job, Outcome
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.jobs.shown import WHY

Say = Callable[[str], None]
WORKER = "ADAPTERS_WORKER_PIPE"
"""The variable that tells a child the end of a pipe whose other end the worker holds."""
_RENEW_S = 2.0
_LOOK_S = 0.2
_AGAIN_S = 15.0
# Who ends a worker may send the same to all that it started: a service manager, a batch system.
_ASKED = (-signal.SIGTERM, -signal.SIGINT)
_SAME_S = 2.0


class Worker:
    """Runs jobs until it is asked to stop.

    Args:
        database: with the tables of jobs.
        home: jobs have folders under `jobs/`.
        child: what is started for each job, with the claim behind it; the module of that name.
        say: told what begins and ends.
        poll: seconds between looks at an empty queue.
        lease: seconds after which a worker that does not renew is taken for dead.
        lanes: of the jobs that it takes.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        *,
        say: Say,
        child: Sequence[str] | None = None,
        poll: float = 1.0,
        lease: float = queue.LEASE_S,
        lanes: Sequence[str] = (BUILD_LANE,),
    ) -> None:
        self._database, self._home, self._say = database, home, say
        self._child = tuple(child or (sys.executable, "-P", "-m", "adapterworks.workers.child"))
        self._poll, self._lease = poll, lease
        self._lanes = tuple(lanes)
        self._stop, self._at_once = threading.Event(), False
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def stop(self, *, at_once: bool = False) -> None:
        """Give back what runs, and end.

        Args:
            at_once: without waiting for a training to save what it has learnt.
        """
        self._at_once |= at_once  # nothing that is asked later takes it back
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def run(self, *, once: bool = False, out: bool = False) -> int:
        """Run jobs; returns how many were begun.

        Args:
            once: end when there is nothing to do.
            out: end when no job of these lanes is to be run any more, by whomever: one that
                another worker holds is waited for, since that worker may be dead.
        """
        begun = 0
        while not self._stop.is_set():
            taken = self._claim()
            if taken is not None:
                begun += 1
                try:
                    self._run(*taken)
                except OSError:  # its disk is full, say: it ends, and the job was not tried by that
                    self._finish(taken[1], Given("queued"))
                    raise
            elif once or (out and self.are_out()):
                break
            else:
                self._stop.wait(self._poll)
        return begun

    def are_out(self) -> bool:
        """Whether nothing in its lanes waits or runs; false where the index does not say."""
        try:
            with self._database.read() as connection:
                return not queue.is_anything_left(connection, self._lanes)
        except Unavailable as error:
            self._say(error.message)
            return False

    def _claim(self) -> tuple[Job, Claim] | None:
        now = time.time()
        try:
            with self._database.read() as connection:
                if not queue.is_something_to_do(connection, self._lanes, now=now):
                    return None
            with self._database.write() as connection:
                return queue.claim(
                    connection, self._lanes, holder=self.holder, now=now, seconds=self._lease
                )
        except Unavailable as error:
            self._say(error.message)
            return None

    def _run(self, job: Job, claim: Claim) -> None:
        self._say(f"{job.id}: begun (attempt {claim.attempt})")
        folder = folders.folder_of(self._home, job.id)
        folder.mkdir(parents=True, exist_ok=True)
        theirs, ours = os.pipe()
        held = os.fdopen(ours, "wb"), os.fdopen(theirs, "rb")
        with (folder / folders.LOG).open("ab") as log, held[0], held[1]:
            child = subprocess.Popen(
                [*self._child, claim.job, str(claim.attempt), claim.holder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C is the worker's; the pipe ends the child with it
                env={**os.environ, "PYTHONSAFEPATH": "1", WORKER: str(theirs)},
            )
            try:
                asked = self._watch(child, claim)
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
                if self._is_nobody_elses(claim):
                    folders.clear(folder)  # another attempt lays its rows out again
        if asked is not None:
            self._finish(claim, asked)
        elif child.returncode in _ASKED and self._stop.wait(_SAME_S):
            self._finish(claim, Given("queued"))  # it was asked to end, as we are
        elif child.returncode != 0:
            self._finish(claim, _death(child.returncode, folder / folders.LOG, job.tenant))
        self._say(f"{job.id}: {self._state(job.id)}")

    def _watch(self, child: subprocess.Popen[bytes], claim: Claim) -> Outcome | None:
        """Wait for the child; what was asked for instead, if it ended for that. It is asked to end,
        so that a training is saved first, but for a job that is cancelled."""
        asked: Outcome | None = None
        renewed = time.monotonic()
        while child.poll() is None:
            if asked is None and self._stop.is_set():
                asked = Given("queued")
                child.terminate()
            if self._at_once:
                return asked
            if time.monotonic() - renewed >= min(_RENEW_S, self._lease / 5):
                renewed = time.monotonic()
                try:
                    with self._database.write() as connection:
                        wanted = queue.renew(
                            connection, claim, now=time.time(), seconds=self._lease
                        )
                except Lost:  # ended by the child a moment ago, or somebody else's now
                    return None
                except Unavailable as error:  # the lease outlasts a few of these
                    self._say(error.message)
                    continue
                if wanted == "cancel":
                    return Given("cancelled")
                if wanted == "pause" and asked is None:
                    asked = Given("paused")
                    child.terminate()
            try:
                child.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                continue
        return None if child.returncode == 0 else asked

    def _is_nobody_elses(self, claim: Claim) -> bool:
        """Whether no other worker has taken the job since: on a shared home it has this folder."""
        try:
            with self._database.read() as connection:
                job = lookup.get(connection, claim.job)
        except Unavailable as error:  # whoever is next, or gc, clears it
            self._say(error.message)
            return False
        return job.ended or job.attempt == claim.attempt

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        """Tell the index, which may be away for a moment: for as long as the claim may hold."""
        until = time.monotonic() + self._lease
        while True:
            try:
                with self._database.write() as connection:
                    job = queue.finish(connection, claim, outcome, now=time.time())
                    if isinstance(outcome, Given) and job.state != "queued":
                        events.add(connection, job.id, f"the job was {job.state}", time.time())
                return
            except Lost:  # ended by the child a moment before, or somebody else's now
                return
            except Unavailable as error:  # in the end whoever is next finds its lease run out
                self._say(error.message)
                if time.monotonic() >= until:
                    return
                time.sleep(min(self._poll, self._lease / 5))

    def _state(self, job: str) -> str:
        try:
            with self._database.read() as connection:
                return lookup.get(connection, job).state
        except Unavailable as error:
            return f"how it stands is not known: {error.message}"


def _death(code: int, log: Path, owner: str) -> Again:
    """What a child that did not say how it ended came to; a tenant is not told its last words."""
    if code in (-signal.SIGKILL, 137):
        return Again(_AGAIN_S, "its process was killed, most likely for want of memory")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = f"its process ended with {code}"
    whole = f"{said}: {lines[-1] if lines else 'no output'}"
    if owner == OPERATOR:
        return Again(_AGAIN_S, whole)
    return Again(_AGAIN_S, said, detail={WHY: whole})
