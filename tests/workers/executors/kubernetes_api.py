"""An emulated Kubernetes API on loopback: Jobs, their pods and logs. No cluster.

It takes only what Kubernetes' own schema takes, and runs a Job's container as a process of this
machine, as a controller and a kubelet would: one pod, another one while tries are left and a node
was lost, SIGTERM when the Job's time is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from tests.warm.python import warm_python

VERSIONS = ("1.31", "1.33", "1.37")
_CONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: test, user: {{token: secret}}}}]
"""


@dataclass
class Pod:
    """A container that runs or has ended."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass
class JobState:
    """A Job as it was made, and its pods."""

    body: dict[str, Any]
    pods: list[Pod] = field(default_factory=list)
    lost: int = 0
    late: bool = False
    stuck: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """With its status as a controller writes it."""
        if self.stuck is not None:
            return {**self.body, "status": {"active": 1, "ready": 0}}
        codes = [pod.process.poll() for pod in self.pods]
        active = codes.count(None)
        conditions = []
        if self.late:
            kind = "FailureTarget" if active else "Failed"
            conditions = [{"type": kind, "status": "True", "reason": "DeadlineExceeded"}]
            status = {"active": 0, "ready": 0, "terminating": active, "conditions": conditions}
            return {**self.body, "status": status}
        if 0 in codes:
            conditions = [{"type": "Complete", "status": "True"}]
        elif codes and not active:
            conditions = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
        status = {"active": active, "ready": active, "conditions": conditions}
        return {**self.body, "status": status}


class Api:
    """What the server has; `folder` is where containers begin and logs are."""

    def __init__(self, folder: Path, namespaces: tuple[str, ...]) -> None:
        self.folder, self.namespaces = folder, namespaces
        self.jobs: dict[str, JobState] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        """Status and body of a request."""
        path, asked = urlsplit(url).path, parse_qs(urlsplit(url).query)
        namespace = path.split("/namespaces/")[1].split("/")[0]
        if namespace not in self.namespaces:
            return _status(403, f'jobs.batch is forbidden in the namespace "{namespace}"')
        with self._lock:
            if method == "POST" and path.endswith("/jobs"):
                return self._create(body)
            if found := re.search(r"/apis/batch/v1/.*/jobs/([^/]+)$", path):
                job = self.jobs.get(found[1])
                if job is None:
                    return _status(404, f'jobs.batch "{found[1]}" not found')
                if method == "PATCH":
                    self._change(job, body)
                return 200, job.to_json()
            if path.endswith("/pods"):
                name = asked["labelSelector"][0].removeprefix("job-name=")
                pods = self.jobs[name].pods if name in self.jobs else []
                if name in self.jobs and (stuck := self.jobs[name].stuck) is not None:
                    pod = {"metadata": {"name": f"{name}-stuck"}, "status": stuck}
                    items = [pod] if stuck else []
                    return 200, {"kind": "PodList", "apiVersion": "v1", "items": items}
                items = [
                    {"metadata": {"name": p.name, "creationTimestamp": f"2026-01-01T00:00:{n:02}Z"}}
                    for n, p in enumerate(pods)
                ]
                return 200, {"kind": "PodList", "apiVersion": "v1", "items": items}
            if path.endswith("/events"):
                items = [
                    {
                        "metadata": {"name": "one"},
                        "involvedObject": {"kind": "Job"},
                        "reason": "FailedCreate",
                        "message": "exceeded quota: gpus",
                    }
                ]
                return 200, {"kind": "EventList", "apiVersion": "v1", "items": items}
            if found := re.search(r"/pods/([^/]+)/log$", path):
                if found[1].endswith("-stuck"):
                    return _status(400, "container worker is waiting to start")
                for job in self.jobs.values():
                    for pod in job.pods:
                        if pod.name == found[1]:
                            return 200, pod.log.read_text()
        return _status(404, f"nothing at {path}")

    def keep_from_beginning(self, name: str, status: dict[str, Any]) -> None:
        """Have a Job's pod not begin.

        Args:
            status: the pod's; without any the Job has no pod.
        """
        with self._lock:
            job = self.jobs[name]
            for pod in job.pods:
                pod.process.kill()
                pod.process.wait()
            job.stuck = status

    def lose(self, name: str) -> None:
        """Lose the node under a Job's pod."""
        with self._lock:
            job = self.jobs[name]
            pod = job.pods.pop()
            pod.process.kill()
            pod.process.wait()
            job.lost += 1
            self._start(job)

    def drain(self, name: str) -> None:
        """Drain the node under a Job's pod: it is asked to end, and takes another one's place.

        Its code decides, as the kubelet's does: a pod that ended with 0 has succeeded.
        """
        with self._lock:
            job = self.jobs[name]
            pod = job.pods[-1]
            pod.process.terminate()
            if pod.process.wait(60) != 0:
                job.pods.remove(pod)
                job.lost += 1
                self._start(job)

    def close(self) -> None:
        """End what still runs."""
        for job in self.jobs.values():
            for pod in job.pods:
                pod.process.kill()
                pod.process.wait()

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if name in self.jobs:
            return _status(409, f'jobs.batch "{name}" already exists')
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(body, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                return _status(422, f"Job is invalid: {error.message}")
        job = self.jobs[name] = JobState(body)
        self._start(job)
        return 201, job.to_json()

    def _start(self, job: JobState) -> None:
        (container,) = job.body["spec"]["template"]["spec"]["containers"]
        name = f"{job.body['metadata']['name']}-{len(job.pods)}-{job.lost}"
        words = container["command"]
        words = [warm_python("gateway") if words[0] == "python" else words[0], *words[1:]]
        told = {one["name"]: one["value"] for one in container["env"]}
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, stdout=file, stderr=file, cwd=self.folder, env={**os.environ, **told}
            )
        job.pods.append(Pod(name, process, log))

    def _change(self, job: JobState, patch: dict[str, Any]) -> None:
        job.body["metadata"].setdefault("annotations", {}).update(patch["metadata"]["annotations"])
        job.body["spec"]["activeDeadlineSeconds"] = patch["spec"]["activeDeadlineSeconds"]
        job.late = True  # each of our tests' has run for a second, or may as well have
        for pod in job.pods:
            pod.process.terminate()


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


@contextlib.contextmanager
def serving(folder: Path, *namespaces: str) -> Iterator[tuple[Api, Path]]:
    """Serve it; gives what it has, and a kubeconfig for it."""
    api = Api(folder, namespaces)

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            code, said = api.answer(self.command, self.path, body)
            text = said if isinstance(said, str) else json.dumps(said)
            self.send_response(code)
            kind = "text/plain" if isinstance(said, str) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = _do  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = folder / "kubeconfig"
        config.write_text(_CONFIG.format(port=server.server_port))
        try:
            yield api, config
        finally:
            server.shutdown()
            thread.join()
            api.close()
