"""`/openapi.json`: the gateway's own description of the paths it answers.

Request bodies name what the gateway itself reads; everything else in them is the engine's and is
described there (OpenAI's and Anthropic's references).
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.container import Contract, contract_of
from adapterworks.gateway.http.routes.common import gateway_of
from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.http.routes.registry.table import TABLE
from adapterworks.gateway.jobs.graders import MOST_ANSWER
from adapterworks.gateway.request.endpoints import ENDPOINTS, GENERATE, Endpoint
from adapterworks.gateway.request.instances import MOST_INSTANCES
from adapterworks.gateway.request.typed.values import MOST_CHOICES, MOST_NAME, MOST_TOKENS

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
_MODEL = {"type": "string", "minLength": 1, "maxLength": MOST_NAME}
_TOKENS = {"type": "integer", "minimum": 1, "maximum": MOST_TOKENS}
_STOP = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
# What the gateway itself decides by, where an endpoint has it.
_READ: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), _TOKENS),
    "n": {"type": "integer", "minimum": 1, "maximum": MOST_CHOICES},
    "stop": _STOP,
    "user": {"type": "string", "maxLength": 512},
    "stream_options": {
        "type": "object",
        "properties": {
            "include_usage": {"type": "boolean"},
            "continuous_usage_stats": {"type": "boolean"},
        },
    },
}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": _MESSAGES},
    "/v1/completions": {
        "prompt": {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        }
    },
    "/v1/responses": {"input": {"type": "string"}},
    "/v1/messages/count_tokens": {"messages": _MESSAGES},
    "/v1/messages": {"messages": _MESSAGES, "max_tokens": {"type": "integer", "minimum": 1}},
    "/v1/embeddings": {"input": {"type": "string"}},
    "/tokenize": {"prompt": {"type": "string"}},
    "/detokenize": {"tokens": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
}
# Paths of `[jobs]`, whose objects are OpenAI's.
JOBS: dict[str, tuple[str, ...]] = {
    "/v1/files": ("get", "post"),
    "/v1/files/{file}": ("get", "delete"),
    "/v1/files/{file}/content": ("get",),
    "/v1/uploads": ("post",),
    "/v1/uploads/{upload}/parts": ("post",),
    "/v1/uploads/{upload}/complete": ("post",),
    "/v1/uploads/{upload}/cancel": ("post",),
    "/v1/batches": ("get", "post"),
    "/v1/batches/{batch}": ("get",),
    "/v1/batches/{batch}/cancel": ("post",),
    "/v1/fine_tuning/jobs": ("get", "post"),
    "/v1/fine_tuning/jobs/{job}": ("get",),
    "/v1/fine_tuning/jobs/{job}/cancel": ("post",),
    "/v1/fine_tuning/jobs/{job}/pause": ("post",),
    "/v1/fine_tuning/jobs/{job}/resume": ("post",),
    "/v1/fine_tuning/jobs/{job}/events": ("get",),
    "/v1/fine_tuning/jobs/{job}/checkpoints": ("get",),
    "/v1/fine_tuning/alpha/graders/run": ("post",),
    "/v1/fine_tuning/alpha/graders/validate": ("post",),
    "/v1/fine_tuning/checkpoints/{checkpoint}/permissions": ("get", "post"),
    "/v1/fine_tuning/checkpoints/{checkpoint}/permissions/{permission}": ("delete",),
}
# Stored completions and feedback.
STORED: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions/{completion}": ("get", "post", "delete"),
    "/v1/chat/completions/{completion}/messages": ("get",),
    "/v1/feedback": ("post",),
}
_PURPOSE = {"enum": ["fine-tune", "batch", "assistants", "vision", "user_data", "evals"]}
_FILE = {"type": "string", "format": "binary"}


def _form(**fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": list(fields), "properties": fields}
    return {"multipart/form-data": {"schema": schema}}


def _object(**fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": list(fields), "properties": fields}
    return {"application/json": {"schema": schema}}


JOBS_BODIES: dict[str, dict[str, Any]] = {
    "/v1/files": _form(purpose=_PURPOSE, file=_FILE),
    "/v1/uploads": _object(
        bytes={"type": "integer", "minimum": 1},
        filename={"type": "string", "minLength": 1, "maxLength": 255},
        mime_type={"type": "string", "minLength": 1, "maxLength": 255},
        purpose=_PURPOSE,
    ),
    "/v1/uploads/{upload}/parts": _form(data=_FILE),
    "/v1/uploads/{upload}/complete": _object(
        part_ids={"type": "array", "items": {"type": "string"}}
    ),
    "/v1/batches": _object(
        input_file_id={"type": "string"},
        endpoint={"type": "string"},
        completion_window={"enum": ["24h"]},
    ),
    "/v1/fine_tuning/jobs": _object(
        model=_MODEL, training_file={"type": "string", "minLength": 1, "maxLength": 80}
    ),
    "/v1/fine_tuning/alpha/graders/run": _object(
        grader={"type": "object"}, model_sample={"type": "string", "maxLength": MOST_ANSWER}
    ),
    "/v1/fine_tuning/alpha/graders/validate": _object(grader={"type": "object"}),
}


_WORD = {"type": "string", "maxLength": 64}
_STORED_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions/{completion}": _object(metadata={"type": "object"}),
    "/v1/feedback": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "minLength": 1, "maxLength": 200},
                    "thumb": {"enum": ["up", "down"]},
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "label": _WORD,
                    "correction": {"type": "string", "minLength": 1, "maxLength": 100_000},
                    "comment": {"type": "string", "minLength": 1, "maxLength": 10_000},
                    "reviewer": _WORD,
                    "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 200},
                },
            }
        }
    },
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
    paths: dict[str, Any] = {e.path: {"post": _post(_relayed(e))} for e in ENDPOINTS}
    paths[GENERATE.path] = {
        "post": _post(
            {
                "adapter": _MODEL,
                "prompt": {"type": "string"},
                "query": {"type": "string"},
                "system_prompt": {"type": "string"},
                "max_tokens": _TOKENS,
                "temperature": {"type": "number", "minimum": 0},
                "top_p": {"type": "number", "minimum": 0, "maximum": 1},
                "stop": _STOP,
            },
            required=[],
        )
    }
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
    paths |= {path: _described(path, methods, _STORED_BODIES) for path, methods in STORED.items()}
    if jobs:
        paths |= {path: _described(path, methods, JOBS_BODIES) for path, methods in JOBS.items()}
    if registry:
        paths |= _of_registry()
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        paths[path] = {"get": _get()}
    if contract is not None:
        paths[contract.health] = {"get": _get()}
        paths[contract.predict] = {"post": _post(_predicted(contract), required=[])}
    return _document("adapterworks gateway", paths)


def _predicted(contract: Contract) -> dict[str, Any]:
    """A request as a platform sends it: by what it asks with, it is one of three endpoints'."""
    asked = {
        name: schema
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
        for name, schema in _BODIES[path].items()
    }
    properties = {"model": _MODEL, "stream": {"type": "boolean"}, **asked}
    if not contract.instances:
        return properties
    instance = {"type": "object", "properties": properties}
    listed = {"type": "array", "minItems": 1, "maxItems": MOST_INSTANCES, "items": instance}
    return {**properties, "instances": listed, "parameters": {"type": "object"}}


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


def _relayed(endpoint: Endpoint) -> dict[str, Any]:
    read = {name: schema for name, schema in _READ.items() if name in endpoint.type.model_fields}
    return {"model": _MODEL, "stream": {"type": "boolean"}, **read, **_BODIES[endpoint.path]}


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
