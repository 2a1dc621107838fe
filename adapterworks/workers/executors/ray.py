"""A job of a Ray cluster, by its Jobs API: the driver on the head has a node run the command.

Nodes share no files with whoever asks. Each has this package, in the Python that Ray itself runs
in, and a home of its own; what they share is the index and the blob store. A node that dies is
another node's resume: see `ray_driver.py`, and `workers/blob_checkpoints.py` for the checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from adapterworks.manifests.errors import NotFound, Refused, Unavailable
from adapterworks.workers.executors.executor import Resources, State, Task
from adapterworks.workers.executors.ray_driver import ASKED

T = TypeVar("T")
_DRIVER = "exec python -P -m adapterworks.workers.executors.ray_driver"
# Seconds that a task may take to end when it is asked to; Ray's own are 3.
_STOP_S = "60"
_STATES: dict[str, State] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "ended",
    "FAILED": "failed",
    "STOPPED": "cancelled",
}


class RayExecutor:
    """Runs tasks on a Ray cluster; the id is the task's name, Ray's submission id.

    Args:
        address: `HOST:PORT` of the dashboard.
    """

    shares_files = False

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None

    def submit(self, task: Task) -> str:
        """See `Executor`."""
        asked = {
            "command": task.command,
            "folder": str(task.folder),
            "resources": _asked(task.resources),
            "seconds": task.resources.seconds,
        }
        variables = {
            **task.environment,
            ASKED: json.dumps(asked),
            "RAY_JOB_STOP_WAIT_TIME_S": _STOP_S,
        }
        self._ask(
            lambda client: client.submit_job(
                entrypoint=_DRIVER, submission_id=task.name, runtime_env={"env_vars": variables}
            )
        )
        return task.name

    def status(self, id: str) -> State:
        """See `Executor`."""
        return _STATES[str(self._ask(lambda client: client.get_job_status(id)).value)]

    def why(self, id: str) -> str:
        """See `Executor`."""
        return str(self._ask(lambda client: client.get_job_info(id)).message or "")

    def log(self, id: str) -> str:
        """See `Executor`; without what Ray says before the command begins."""
        said = str(self._ask(lambda client: client.get_job_logs(id)))
        _, begun, rest = said.partition(_DRIVER + "\n")
        return (rest if begun else said).strip()

    def cancel(self, id: str) -> None:
        """See `Executor`; the worker is asked first, and gives back what it runs."""
        if self.status(id) in ("waiting", "running"):
            self._ask(lambda client: client.stop_job(id))

    def _ask(self, what: Callable[[Any], T]) -> T:
        """Ask the Jobs API.

        Raises:
            NotFound: it knows no such job.
            Refused: it does not want that.
            Unavailable: it does not answer.
        """
        from ray.job_submission import JobSubmissionClient

        try:
            if self._client is None:
                self._client = JobSubmissionClient(f"http://{self._address}")
            return what(self._client)
        except ConnectionError as error:
            raise self._silent(error) from error
        except RuntimeError as error:  # all that the client makes of an answer it did not want
            said = " ".join(str(error).split())
            if "status code 404" in said:
                raise NotFound(f"Ray at `{self._address}` knows no such task") from error
            if "status code 5" in said and "already exists" not in said:
                raise self._silent(error) from error
            raise Refused(f"Ray refused: {said}") from error
        except OSError as error:  # of `requests`, whose errors are no `ConnectionError`
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> Unavailable:
        said = " ".join(str(error).split())
        return Unavailable(
            f"Ray's Jobs API at `{self._address}` does not answer: {said}",
            hint="the port is that of Ray's dashboard, 8265 by default",
            retry_after=60.0,
        )


def _asked(resources: Resources) -> dict[str, float]:
    """The resources as a Ray task's options take them; memory in bytes."""
    asked: dict[str, float] = {"num_cpus": 1 if resources.cpus is None else resources.cpus}
    if resources.gpus:
        asked["num_gpus"] = resources.gpus
    if resources.memory is not None:
        asked["memory"] = resources.memory
    return asked
