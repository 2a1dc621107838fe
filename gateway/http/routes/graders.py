"""`/v1/fine_tuning/alpha/graders`: a grader tried on one answer, before a job learns by it."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.http.routes.common import body_of, receipt_of, tenant_of
from adapterworks.gateway.jobs.graders import AskedRun, AskedValidation, Graders, read_grader
from adapterworks.gateway.request.checked import checked

_GRADERS = "/v1/fine_tuning/alpha/graders"
T = TypeVar("T", bound=Table)


def routes() -> list[Route]:
    """Run and validate."""
    return [
        Route(f"{_GRADERS}/run", run, methods=["POST"]),
        Route(f"{_GRADERS}/validate", validate, methods=["POST"]),
    ]


async def run(request: Request) -> Response:
    """`POST …/run`: what an answer is worth.

    Raises:
        InvalidField, Unavailable: as `Graders.run` says.
    """
    asked = await _asked(request, AskedRun)
    graders: Graders = request.app.state.graders
    return JSONResponse(await graders.run(asked), headers=receipt_of(request).headers())


async def validate(request: Request) -> Response:
    """`POST …/validate`: the grader as it came, if it can be run.

    Raises:
        InvalidField: it cannot.
    """
    asked = await _asked(request, AskedValidation)
    read_grader(asked.grader)
    return JSONResponse({"grader": asked.grader}, headers=receipt_of(request).headers())


async def _asked(request: Request, type_: type[T]) -> T:
    tenant_of(request)
    body = await body_of(request)
    return checked(type_, {name: value for name, value in body.values.items() if value is not None})
