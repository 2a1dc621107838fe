"""The JSON Schema of a manifest file: what editors complete from.

It accepts every file that `load_manifest` accepts and describes every key; combinations
(`manifests/checks/`) are beyond it. A profile is a manifest in which nothing is required.
"""

from __future__ import annotations

from typing import Any

from adapterworks.manifests.models import Manifest
from adapterworks.manifests.stages import NAME_PATTERN, STAGES, TABLES

_REF = "#/$defs/"
_PARTIAL = "Partial"


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a manifest file, profiles included."""
    schema = Manifest.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    root = {key: value for key, value in schema.items() if key != "title"}
    partial = {name + _PARTIAL: _partial(value) for name, value in definitions.items()}
    partial["Profile"] = _partial(root) | {
        "description": "A profile: keys that replace those of the manifest; tables are merged."
    }
    stage = {name: _partial(root["properties"][name]) for name in TABLES}
    partial["Profile"]["properties"] |= {
        STAGES: {
            "description": "What differs in a stage, by its name.",
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": stage,
                "additionalProperties": False,
            },
        }
    }
    properties = root["properties"] | {
        STAGES: {
            "description": "Trainings one after the other, each beginning where the last ended.",
            "type": "array",
            "minItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "name": {
                        "description": "Its name, and the alias of its release.",
                        "type": "string",
                        "pattern": NAME_PATTERN,
                    },
                    **stage,
                },
                "required": ["name"],
                "additionalProperties": False,
            },
        },
        "profiles": {
            "description": "Named sets of overrides: `[profiles.quick]`, `data.limit = 600`.",
            "type": "object",
            "additionalProperties": {"$ref": _REF + "Profile"},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Adapter manifest",
        **root,
        "properties": properties,
        "$defs": definitions | partial,
    }


def _partial(schema: Any) -> Any:
    """The schema with nothing required, referring to partial definitions.

    Elements of arrays stay complete: arrays are replaced, not merged.
    """
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return schema | {"$ref": schema["$ref"] + _PARTIAL}
    result = {}
    for key, value in schema.items():
        if key in ("required", "discriminator"):
            continue
        # Without a required `kind` several alternatives may match.
        name = "anyOf" if key == "oneOf" else key
        result[name] = value if key in ("items", "default", "enum", "const") else _partial(value)
    return result
