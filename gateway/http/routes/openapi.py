"""`/openapi.json`: the gateway's own description of the paths it answers.

Request bodies name what the gateway itself reads; everything else in them is the engine's and is
described there (OpenAI's and Anthropic's references).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.request.fields import ENDPOINTS, Endpoint

_VERSION = "1"
_ERRORS = {
    "400": "The request is malformed",
    "401": "No key, or one that does not work",
    "404": "The model does not exist or may not be used",
    "405": "The path does not take this method",
    "408": "The request arrived too slowly",
    "413": "The body is too large",
    "422": "The adapter may not be served",
    "429": "A limit is reached",
    "431": "The headers are too large",
    "503": "Not now; see Retry-After",
}
_MESSAGES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["system", "user", "assistant"]},
            "content": {"type": "string"},
        },
    },
}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": _MESSAGES},
    "/v1/completions": {"prompt": {"type": "string"}},
    "/v1/responses": {"input": {"type": "string"}},
    "/v1/messages": {"messages": _MESSAGES, "max_tokens": {"type": "integer", "minimum": 1}},
    "/v1/embeddings": {"input": {"type": "string"}},
}


def routes() -> list[Route]:
    """`/openapi.json`."""
    return [Route("/openapi.json", openapi, methods=["GET"])]


async def openapi(request: Request) -> Response:
    """The document."""
    return JSONResponse(document())


def document() -> dict[str, Any]:
    """OpenAPI 3.1 for every public path."""
    paths: dict[str, Any] = {e.path: {"post": _post(_relayed(e))} for e in ENDPOINTS}
    paths["/generate"] = {
        "post": _post(
            {
                "adapter": {"type": "string"},
                "prompt": {"type": "string"},
                "max_tokens": {"type": "integer", "minimum": 1},
            },
            required=["adapter", "prompt"],
        )
    }
    paths["/v1/models"] = {"get": _get()}
    paths["/v1/models/{model}"] = {
        "get": {
            **_get(),
            "parameters": [
                {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
        }
    }
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        paths[path] = {"get": _get()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "adapterworks gateway", "version": _VERSION},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
        "paths": paths,
    }


def _relayed(endpoint: Endpoint) -> dict[str, Any]:
    common = {"model": {"type": "string"}, "stream": {"type": "boolean"}}
    limits = {name: {"type": "integer", "minimum": 1} for name in endpoint.limit_fields}
    return {**common, **limits, **_BODIES[endpoint.path]}


def _post(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    names = required or [
        name for name in properties if name in ("model", "messages", "prompt", "input")
    ]
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
