"""The bodies that `/openapi.json` describes: what the gateway itself reads of a request.

Everything else in them is the engine's and is described there (OpenAI's and Anthropic's
references).
"""

from __future__ import annotations

from typing import Any

from adapterworks.gateway.config.container import Contract
from adapterworks.gateway.jobs.graders import MOST_ANSWER
from adapterworks.gateway.request.endpoints import Endpoint
from adapterworks.gateway.request.instances import MOST_INSTANCES
from adapterworks.gateway.request.typed.values import MOST_CHOICES, MOST_NAME, MOST_TOKENS

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
    "/v1/files/{file}/lines": ("get",),
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
# Stored completions, feedback, and the review queue.
STORED: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions/{completion}": ("get", "post", "delete"),
    "/v1/chat/completions/{completion}/messages": ("get",),
    "/v1/feedback": ("post",),
    "/v1/reviews": ("get", "post"),
    "/v1/reviews/{ballot}": ("post",),
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
STORED_BODIES: dict[str, dict[str, Any]] = {
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
STORED_BODIES["/v1/reviews"] = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["reviewer"],
            "properties": {"reviewer": _WORD, "adapter": {"type": "string", "maxLength": 200}},
        }
    }
}
STORED_BODIES["/v1/reviews/{ballot}"] = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["reviewer", "choice"],
            "properties": {
                "reviewer": _WORD,
                "choice": {"type": "integer", "minimum": 0, "maximum": 2},
                "correction": {"type": "string", "minLength": 1, "maxLength": 100_000},
            },
        }
    }
}
# Of `/generate`.
GENERATED: dict[str, Any] = {
    "adapter": _MODEL,
    "prompt": {"type": "string"},
    "query": {"type": "string"},
    "system_prompt": {"type": "string"},
    "max_tokens": _TOKENS,
    "temperature": {"type": "number", "minimum": 0},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "stop": _STOP,
}


def relayed(endpoint: Endpoint) -> dict[str, Any]:
    """A body that an engine is sent on: what the gateway itself reads of it."""
    read = {name: schema for name, schema in _READ.items() if name in endpoint.type.model_fields}
    return {"model": _MODEL, "stream": {"type": "boolean"}, **read, **_BODIES[endpoint.path]}


def predicted(contract: Contract) -> dict[str, Any]:
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
