"""Fine-tuning jobs: the list, beginning one, and one of them as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapterworks.gateway.console.inside import Denied, Through, next_page, part
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, form_of, page

_JOBS = "/v1/fine_tuning/jobs"
_PAGE = 50
_EVENTS = 100
_ENDED = ("succeeded", "failed", "cancelled")
_ACTS = ("cancel", "pause", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForm:
    """What the form for a job is filled in with, as it was written; empty: left to the plan."""

    model: str = ""
    training_file: str = ""
    validation_file: str = ""
    suffix: str = ""
    method: str = "supervised"
    n_epochs: str = ""
    batch_size: str = ""
    learning_rate_multiplier: str = ""
    seed: str = ""

    @classmethod
    def of(cls, form: Mapping[str, str]) -> JobForm:
        """The fields that there are, of a form that was sent."""
        return cls(**{f.name: form[f.name].strip() for f in fields(cls) if form.get(f.name)})

    def asked(self) -> dict[str, Any]:
        """The same as the API takes it."""
        names = ("n_epochs", "batch_size", "learning_rate_multiplier")
        numbers = {name: _number(getattr(self, name)) for name in names if getattr(self, name)}
        given = {
            name: getattr(self, name)
            for name in ("model", "training_file", "validation_file", "suffix")
            if getattr(self, name)
        }
        seed = {"seed": _number(self.seed)} if self.seed else {}
        method = {"type": self.method, self.method: {"hyperparameters": numbers}}
        return {**given, **seed, "method": method}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs(Page):
    """The list and the form.

    Attributes:
        on: whether the gateway takes jobs.
        jobs: as `/v1/fine_tuning/jobs` has them, newest first.
        more: the id after which the next page begins; None if there is none.
        models: what a training can begin from.
        files: those for fine-tuning: the newest, and those that the form has.
        filled: what the form had when it was refused.
        denied: why it was.
    """

    template: ClassVar[str] = "jobs.html"
    area: ClassVar[str] = "jobs"
    on: bool
    jobs: tuple[dict[str, Any], ...] = ()
    more: str | None = None
    models: tuple[str, ...] = ()
    files: tuple[dict[str, Any], ...] = ()
    filled: JobForm
    denied: Denied | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage(Page):
    """One job.

    Attributes:
        job: as `/v1/fine_tuning/jobs/{job}` has it.
        ended: whether anything can still happen to it.
        events: newest first.
        more: the event after which the older ones begin; None if these are all.
        losses: (step, training loss) of those events, oldest first.
        checkpoints: newest first.
    """

    template: ClassVar[str] = "job.html"
    area: ClassVar[str] = "jobs"
    job: dict[str, Any]
    ended: bool
    events: tuple[dict[str, Any], ...]
    more: str | None
    losses: tuple[tuple[int, float], ...]
    checkpoints: tuple[dict[str, Any], ...]


async def _listed(visit: Visit, filled: JobForm, denied: Denied | None = None) -> Jobs:
    commands = (command("adapters", "jobs", "list"),)
    try:
        found = await visit.api.get(_JOBS, limit=_PAGE, after=visit.asked("after"))
    except Denied as error:
        if not error.off:
            raise
        return Jobs(on=False, filled=filled, commands=commands)
    files = (await visit.api.get("/v1/files", purpose="fine-tune", limit=_PAGE))["data"]
    listed = {file["id"] for file in files}
    for name in {filled.training_file, filled.validation_file} - {"", *listed}:
        try:  # an older one: a list that has it not would show another as chosen
            files.append(await visit.api.get(f"/v1/files/{part(name)}"))
        except Denied:
            if denied is None:  # else that says what is wrong
                raise
    models = await visit.api.get("/v1/models")
    return Jobs(
        on=True,
        jobs=tuple(found["data"]),
        more=next_page(found),
        models=tuple(m["id"] for m in models["data"] if m["parent"] is None),
        files=tuple(files),
        filled=filled,
        denied=denied,
        commands=commands,
    )


async def list_jobs(visit: Visit) -> Response:
    """`GET /jobs`; `file` is the one that the form begins with."""
    return visit.show(await _listed(visit, JobForm(training_file=visit.asked("file") or "")))


async def create(visit: Visit) -> Response:
    """`POST /jobs`."""
    form = JobForm.of(await form_of(visit.request))
    try:
        job = await visit.api.post(_JOBS, form.asked())
    except Denied as denied:
        if denied.status == 401:
            raise
        return visit.show(await _listed(visit, form, denied), denied.status)
    return visit.go(f"/jobs/{job['id']}")


def _number(text: str) -> int | float | str:
    """The number, or the text as it is: the API says what is wrong with it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


async def show(visit: Visit) -> Response:
    """`GET /jobs/{job}`; `after` is the event after which the older ones begin."""
    name = part(visit.request.path_params["job"])
    job = await visit.api.get(f"{_JOBS}/{name}")
    found = await visit.api.get(f"{_JOBS}/{name}/events", limit=_EVENTS, after=visit.asked("after"))
    checkpoints = await visit.api.get(f"{_JOBS}/{name}/checkpoints", limit=_PAGE)
    data = [event["data"] for event in reversed(found["data"])]
    commands = [
        command("adapters", "jobs", "show", job["id"]),
        command("adapters", "jobs", "logs", job["id"], "--follow"),
    ]
    if job["status"] not in _ENDED:
        commands.append(command("adapters", "jobs", "cancel", job["id"]))
    return visit.show(
        JobPage(
            job=job,
            ended=job["status"] in _ENDED,
            events=tuple(found["data"]),
            more=next_page(found),
            losses=tuple(
                (int(d["step"]), float(d["train_loss"])) for d in data if "train_loss" in d
            ),
            checkpoints=tuple(checkpoints["data"]),
            commands=tuple(commands),
        )
    )


async def events(visit: Visit) -> Through:
    """`GET /jobs/{job}/events`: the API's stream."""
    name = part(visit.request.path_params["job"])
    return visit.api.through(visit.request, f"{_JOBS}/{name}/events", {"stream": "true"})


async def state(visit: Visit) -> Through:
    """`GET /jobs/{job}/state`: the job as the API has it."""
    name = part(visit.request.path_params["job"])
    return visit.api.through(visit.request, f"{_JOBS}/{name}")


async def act(visit: Visit) -> Response:
    """`POST /jobs/{job}/{act}`: cancel, pause or resume."""
    name, what = part(visit.request.path_params["job"]), visit.request.path_params["act"]
    if what not in _ACTS:
        raise HTTPException(404)
    await visit.api.post(f"{_JOBS}/{name}/{what}")
    return visit.go(f"/jobs/{name}")


ROUTES = [
    page("/jobs", list_jobs),
    page("/jobs", create, method="POST"),
    page("/jobs/{job}", show),
    page("/jobs/{job}/events", events),
    page("/jobs/{job}/state", state),
    page("/jobs/{job}/{act}", act, method="POST"),
]
