"""`JobsHere` on a registry's server: the same, with an administrator's token."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from adapterworks.registry.jobs.events import Event
from adapterworks.registry.jobs.job import Job
from adapterworks.registry.remotes.http.link import Link, part

_Told = dict[str, Any]


class JobsOverHttp:
    """The jobs of everybody, as the server tells an administrator."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def listed(
        self,
        *,
        tenant: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], bool]:
        """As `JobsHere.listed`."""
        asked = {"tenant": tenant, "state": state, "kind": kind, "after": after}
        told = self._link.get("/jobs", _Told, limit=limit, **asked)
        return TypeAdapter(list[Job]).validate_python(told["data"]), bool(told["has_more"])

    def get(self, job: str) -> Job:
        """As `JobsHere.get`."""
        return self._link.get(f"/jobs/{part(job)}", Job)

    def since(self, job: str, sequence: int) -> list[Event]:
        """As `JobsHere.since`."""
        return [*self._link.pages(f"/jobs/{part(job)}/events", Event, begin=sequence)]

    def pause(self, job: str) -> Job:
        """As `JobsHere.pause`."""
        return self._link.post(f"/jobs/{part(job)}/pause", Job)

    def resume(self, job: str) -> Job:
        """As `JobsHere.resume`."""
        return self._link.post(f"/jobs/{part(job)}/resumption", Job)

    def cancel(self, job: str) -> Job:
        """As `JobsHere.cancel`."""
        return self._link.post(f"/jobs/{part(job)}/cancellation", Job)
