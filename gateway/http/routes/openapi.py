"""`/openapi.json`: the gateway's own description of the paths it answers.

Bodies are those of `bodies.py`; the registry's paths and bodies are those of its own table.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.container import Contract, contract_of
from adapterworks.gateway.http.routes.bodies import (
    GENERATED,
    JOBS,
    JOBS_BODIES,
    STORED,
    STORED_BODIES,
    predicted,
    relayed,
)
from adapterworks.gateway.http.routes.common import gateway_of
from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.http.routes.registry.table import TABLE
from adapterworks.gateway.request.endpoints import ENDPOINTS, GENERATE

_VERSION = "1"
_ERRORS = {
    "400": "The request is malformed",
    "401": "No key, or one that does not work",
    "403": "The key may not do this",
    "404": "The model does not exist or may not be used",
    "405": "The path does not take this method",
    "408": "The request arrived too slowly",
    "413": "The body is too large",
    "422": "The adapter may not be served",
    "429": "A limit is reached",
    "431": "The headers are too large",
    "503": "Not now; see Retry-After",
}


def routes() -> list[Route]:
    """`/openapi.json`."""
    return [Route("/openapi.json", openapi, methods=["GET"])]


def registry_routes() -> list[Route]:
    """`/openapi.json` of a registry without a gateway."""
    return [Route("/openapi.json", openapi_of_registry, methods=["GET"])]


async def openapi(request: Request) -> Response:
    """The document."""
    config = gateway_of(request).config
    contract = contract_of(config.http)
    return JSONResponse(
        document(jobs=config.jobs.on, registry=config.registry.on, contract=contract)
    )


async def openapi_of_registry(request: Request) -> Response:
    """The document of a registry without a gateway."""
    return JSONResponse(registry_document())


def registry_document() -> dict[str, Any]:
    """OpenAPI 3.1 for the registry's paths alone."""
    return _document("adapterworks registry", {**_of_registry(), "/openapi.json": {"get": _get()}})


def document(
    *, jobs: bool = False, registry: bool = False, contract: Contract | None = None
) -> dict[str, Any]:
    """OpenAPI 3.1 for every public path.

    Args:
        contract: of the platform whose container it is; its two paths are among them.
        jobs: whether files, fine-tuning jobs and batches are among them.
        registry: whether the registry's are.
    """
    paths: dict[str, Any] = {e.path: {"post": _post(relayed(e))} for e in ENDPOINTS}
    paths[GENERATE.path] = {"post": _post(GENERATED, required=[])}
    paths["/v1/models"] = {"get": _get()}
    paths["/v1/engines"] = {"get": _get()}
    paths["/v1/usage"] = {"get": _get()}
    paths["/v1/models/{model}"] = {
        "get": {
            **_get(),
            "parameters": [
                {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
        }
    }
    paths["/v1/chat/completions"]["get"] = _get()
    paths |= {path: _described(path, methods, STORED_BODIES) for path, methods in STORED.items()}
    if jobs:
        paths |= {path: _described(path, methods, JOBS_BODIES) for path, methods in JOBS.items()}
    if registry:
        paths |= _of_registry()
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        paths[path] = {"get": _get()}
    if contract is not None:
        paths[contract.health] = {"get": _get()}
        paths[contract.predict] = {"post": _post(predicted(contract), required=[])}
    return _document("adapterworks gateway", paths)


def _document(title: str, paths: dict[str, Any]) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": _VERSION},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
        "paths": paths,
    }


def _of_registry() -> dict[str, Any]:
    """The registry's paths, from the table that they are answered by."""
    found: dict[str, Any] = {}
    for entry in TABLE:
        described = {**_get(), "description": f"For the role `{entry.role.word}` and above."}
        names = re.findall(r"{(\w+)}", entry.path)
        if names:
            described["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        if entry.body is not None:
            schema = entry.body.model_json_schema()
            content = {"application/json": {"schema": schema}}
            described["requestBody"] = {"required": True, "content": content}
        found.setdefault(PREFIX + entry.path, {})[entry.method.lower()] = described
    return found


def _described(
    path: str, methods: tuple[str, ...], bodies: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    described: dict[str, Any] = {}
    for method in methods:
        described[method] = {**_get(), **({"parameters": parameters} if parameters else {})}
        content = bodies.get(path) if method == "post" else None
        if content is not None:
            described[method]["requestBody"] = {"required": True, "content": content}
    return described


def _post(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    names = (
        required
        if required is not None
        else [
            name
            for name in properties
            if name in ("model", "messages", "prompt", "input", "tokens")
        ]
    )
    schema = {"type": "object", "required": names, "properties": properties}
    content = {"application/json": {"schema": schema}}
    return {**_get(), "requestBody": {"required": True, "content": content}}


def _get() -> dict[str, Any]:
    return {
        "responses": {
            "200": {"description": "The answer"},
            **{status: {"description": text} for status, text in _ERRORS.items()},
        }
    }
