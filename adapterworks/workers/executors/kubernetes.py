"""A Job of Kubernetes, through the official client and the kubeconfig of whoever asks.

A pod whose node dies or is drained is replaced by the Job's controller; its worker goes on at the
checkpoint in the blob store. A Job that is cancelled is out of time, which ends its pod as
`kubectl delete pod` does and has it fail; so it goes by itself, as long after as any that has
ended. (One that is suspended has not ended: it would stay for ever, and its time stands still.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from adapterworks.manifests.errors import NotFound, Refused, Unavailable
from adapterworks.workers.executors.executor import NoPlace, State, Task
from adapterworks.workers.executors.kubernetes_objects import CANCELLED, job_object
from adapterworks.workers.executors.kubernetes_words import why_ended, why_waits

T = TypeVar("T")
_SECONDS = 30.0


class KubernetesExecutor:
    """Runs tasks in a namespace; the id is the Job's name.

    Args:
        image: of the worker.
    """

    shares_files = False

    def __init__(self, namespace: str, image: str) -> None:
        self._namespace, self._image = namespace, image
        self._client: Any = None

    def submit(self, task: Task) -> str:
        """See `Executor`."""
        body = job_object(task, namespace=self._namespace, image=self._image)
        self._ask(lambda api: api.BatchV1Api, "create_namespaced_job", body=body)
        return task.name

    def status(self, id: str) -> State:
        """See `Executor`."""
        job = self._job(id)
        held = {one.type for one in job.status.conditions or () if one.status == "True"}
        if "Complete" in held:
            return "ended"
        if (job.metadata.annotations or {}).get(CANCELLED):
            # Until its pod has gone, it is still running.
            left = job.status.active or job.status.terminating
            return "running" if left else "cancelled"
        if "Failed" in held:
            return "failed"
        return "running" if job.status.ready else "waiting"

    def why(self, id: str) -> str:
        """See `Executor`; of the newest pod, or of the Job that has none."""
        job = self._job(id)
        if pods := self._pods(id):
            return why_waits(pods[-1])
        return why_ended(job) or self._why_no_pod(id)

    def log(self, id: str) -> str:
        """See `Executor`; of the Job's pods that are still there, the oldest first.

        What keeps the newest one from beginning stands at the end: it has printed nothing.
        """
        self._job(id)
        said = []
        for pod in self._pods(id):
            try:
                said.append(self._core("read_namespaced_pod_log", name=pod.metadata.name))
            except (NotFound, Refused):  # it has gone meanwhile, or has not begun
                continue
        return "\n".join(filter(None, ("".join(said).strip(), self.why(id))))

    def cancel(self, id: str) -> None:
        """See `Executor`; the worker is asked first, and gives back what it runs."""
        if self.status(id) in ("waiting", "running"):
            change = {
                "metadata": {"annotations": {CANCELLED: "true"}},
                "spec": {"activeDeadlineSeconds": 1},
            }
            self._batch("patch_namespaced_job", name=id, body=change)

    def _pods(self, id: str) -> list[Any]:
        """Those of a Job that are still there, the oldest first."""
        listed = self._core("list_namespaced_pod", label_selector=f"job-name={id}")
        return sorted(listed.items, key=lambda pod: str(pod.metadata.creation_timestamp))

    def _why_no_pod(self, id: str) -> str:
        """Why a Job's controller makes none, as where a quota is used up: the newest warning."""
        about = f"involvedObject.kind=Job,involvedObject.name={id},type=Warning"
        try:
            listed = self._core("list_namespaced_event", field_selector=about)
        except (NotFound, Refused):  # whoever asks may see Jobs, and no events
            return ""
        said = [f"{event.reason}: {event.message}" for event in listed.items]
        return said[-1] if said else ""

    def _job(self, id: str) -> Any:
        return self._batch("read_namespaced_job", name=id)

    def _batch(self, method: str, **given: Any) -> Any:
        return self._ask(lambda api: api.BatchV1Api, method, **given)

    def _core(self, method: str, **given: Any) -> Any:
        return self._ask(lambda api: api.CoreV1Api, method, **given)

    def _ask(self, which: Callable[[Any], Any], method: str, **given: Any) -> Any:
        """Ask the API.

        Raises:
            NoPlace: there is no kubeconfig.
            NotFound: there is nothing of that name.
            Refused: the API does not want that, with what it says.
            Unavailable: it does not answer.
        """
        from kubernetes import client
        from urllib3.exceptions import HTTPError

        call = getattr(which(client)(self._connect()), method)
        try:
            return call(namespace=self._namespace, _request_timeout=_SECONDS, **given)
        except client.ApiException as error:
            said = _message(error)
            if error.status == 404:
                where = f"in namespace `{self._namespace}`"
                raise NotFound(f"Kubernetes knows no such thing {where}: {said}") from error
            if error.status >= 500 or error.status == 429:
                raise Unavailable(f"Kubernetes answers {error.status}: {said}") from error
            raise Refused(f"Kubernetes refused: {said}") from error
        except (HTTPError, OSError) as error:
            said = " ".join(str(error).split())
            raise Unavailable(f"Kubernetes does not answer: {said}", retry_after=60.0) from error

    def _connect(self) -> Any:
        """The API of the kubeconfig's current context; inside of a pod, that of its account."""
        if self._client is None:
            from kubernetes import client, config

            configuration = client.Configuration()
            configuration.retries = 1
            try:
                # Asked for anew: the client reads the variable once, when it is imported.
                named = os.environ.get("KUBECONFIG") or None
                config.load_kube_config(config_file=named, client_configuration=configuration)
            except config.ConfigException as error:
                try:
                    config.load_incluster_config(client_configuration=configuration)
                except config.ConfigException:
                    raise NoPlace(
                        f"there is no cluster to ask: {error}",
                        hint="`kubectl config current-context` says which one is meant; "
                        "KUBECONFIG names another file",
                    ) from error
            self._client = client.ApiClient(configuration)
        return self._client


def _message(error: Any) -> str:
    """What the API says is wrong."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
