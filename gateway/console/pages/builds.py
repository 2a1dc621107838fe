"""Builds that were queued on the command line (`adapters build --detach`), for an administrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapterworks.gateway.console.inside import next_page, part
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, page
from adapterworks.registry.jobs.job import DETACHED

_JOBS = "/v1/registry/jobs"
_PAGE, _EVENTS = 50, 200
# What can be asked of a build in a state, and the path that it is asked at.
_ACTS = {"pause": "pause", "resume": "resumption", "cancel": "cancellation"}
_OF_STATE = {"queued": ("pause", "cancel"), "running": ("pause", "cancel"),
             "paused": ("resume", "cancel")}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Builds(Page):
    """The list.

    Attributes:
        builds: as `/v1/registry/jobs` has them, newest first.
        more: the id after which the next page begins; None if there is none.
    """

    template: ClassVar[str] = "builds.html"
    area: ClassVar[str] = "builds"
    builds: tuple[dict[str, Any], ...]
    more: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build(Page):
    """One of them.

    Attributes:
        build: as `/v1/registry/jobs` has it.
        told: what happened to it, oldest first.
        more: the event after which the next page begins; None if there is none.
        acts: what can be asked of it now.
    """

    template: ClassVar[str] = "build.html"
    area: ClassVar[str] = "builds"
    build: dict[str, Any]
    told: tuple[dict[str, Any], ...]
    more: str | None
    acts: tuple[str, ...]


async def listed(visit: Visit) -> Response:
    """`GET /builds`."""
    after = visit.asked("after")
    found = await visit.api.get(_JOBS, kind=DETACHED, limit=_PAGE, after=after)
    commands = (
        command("adapters", "build", "NAME", "--detach"),
        command("adapters", "jobs", "list"),
    )
    return visit.show(Builds(builds=tuple(found["data"]), more=next_page(found), commands=commands))


async def show(visit: Visit) -> Response:
    """`GET /builds/{build}`."""
    build = await _of_path(visit)
    path = f"{_JOBS}/{part(build['id'])}/events"
    told = await visit.api.get(path, limit=_EVENTS, after=visit.asked("after"))
    acts = () if build["wanted"] else _OF_STATE.get(build["state"], ())
    return visit.show(
        Build(
            build=build,
            told=tuple(told["data"]),
            more=next_page(told),
            acts=acts,
            commands=(
                command("adapters", "jobs", "logs", build["id"], "--follow"),
                *(command("adapters", "jobs", act, build["id"]) for act in acts),
            ),
        )
    )


async def act(visit: Visit) -> Response:
    """`POST /builds/{build}/{act}`: the API says what can be asked."""
    build, asked = await _of_path(visit), visit.request.path_params["act"]
    if asked not in _ACTS:
        raise HTTPException(404)
    await visit.api.post(f"{_JOBS}/{part(build['id'])}/{_ACTS[asked]}")
    return visit.go(f"/builds/{part(build['id'])}")


async def _of_path(visit: Visit) -> dict[str, Any]:
    """The build that the address names; a job of a tenant's is none."""
    found = await visit.api.get(f"{_JOBS}/{part(visit.request.path_params['build'])}")
    if found["kind"] != DETACHED:
        raise HTTPException(404)
    return found


ROUTES = [
    page("/builds", listed),
    page("/builds/{build}", show),
    page("/builds/{build}/{act}", act, method="POST"),
]
