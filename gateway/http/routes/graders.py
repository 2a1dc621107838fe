"""`/v1/fine_tuning/alpha/graders`: a grader tried on one answer, before a job learns by it."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.http.routes.common import body_of, gateway_of, receipt_of, tenant_of
from adapterworks.gateway.jobs.graders import AskedRun, AskedValidation
from adapterworks.gateway.jobs.running_graders import Graders
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.leaving import unless_left

_GRADERS = "/v1/fine_tuning/alpha/graders"
_LEFT = 499
T = TypeVar("T", bound=Table)


def routes() -> list[Route]:
    """Run and validate."""
    return [
        Route(f"{_GRADERS}/run", run, methods=["POST"]),
        Route(f"{_GRADERS}/validate", validate, methods=["POST"]),
    ]


async def run(request: Request) -> Response:
    """`POST …/run`: what an answer is worth; whoever leaves is not worked for any more.

    Raises:
        InvalidField, RateLimited, Unavailable: as `Graders.run` says.
    """
    tenant = tenant_of(request)
    asked, receipt = await _asked(request, AskedRun), receipt_of(request)
    run = _graders(request).run(gateway_of(request), tenant, receipt, asked)
    found = await unless_left(request.receive, run)
    if found is None:
        return Response(status_code=_LEFT)  # nobody reads it
    return JSONResponse(found, headers=receipt.headers())


async def validate(request: Request) -> Response:
    """`POST …/validate`: the grader as it came, if it can be run.

    Raises:
        InvalidField: it cannot.
    """
    tenant = tenant_of(request)
    asked = await _asked(request, AskedValidation)
    await _graders(request).read(gateway_of(request), tenant, asked.grader)
    return JSONResponse({"grader": asked.grader}, headers=receipt_of(request).headers())


def _graders(request: Request) -> Graders:
    graders: Graders = request.app.state.graders
    return graders


async def _asked(request: Request, type_: type[T]) -> T:
    body = await body_of(request)
    return checked(type_, {name: value for name, value in body.values.items() if value is not None})
