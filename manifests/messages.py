"""Pydantic's errors in the words of a TOML manifest: one problem per key, with a hint.

Pydantic reports a union as one error per alternative, and puts names of alternatives into paths;
here an error's path is always a path of the manifest.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adapterworks.manifests.checking import KeyPath, Problem
from adapterworks.manifests.data_gates import DataGate, DataGates
from adapterworks.manifests.extensions import names
from adapterworks.manifests.method import MethodTable, method_tables
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import ObjectiveTable, objective_tables

# The tables that are an entry's own, by the manifest's key.
_BY_KIND: dict[str, tuple[type[BaseModel], Callable[[], Mapping[str, type[BaseModel]]]]] = {
    "method": (MethodTable, method_tables),
    "objective": (ObjectiveTable, objective_tables),
}
_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "string_pattern_mismatch": "lower-case letters, digits, `-`, `_` and `.`, at most 64 of them",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
}


def problems(error: ValidationError, table: dict[str, Any]) -> list[Problem]:
    """The problems behind a validation error of `table`, one per key."""
    grouped: dict[KeyPath, list[dict[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":  # follows from another fault
            continue
        path = _manifest_path(detail["loc"], table, missing=detail["type"] == "missing")
        if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "kind")
        grouped.setdefault(path, []).append(dict(detail))
    return [_problem(path, details, table) for path, details in grouped.items()]


def _problem(path: KeyPath, details: list[dict[str, Any]], table: dict[str, Any]) -> Problem:
    kind = details[0]["type"]
    key = path[-1]
    if kind == "extra_forbidden":
        known = known_keys(path[:-1], table)
        if path == ("train", "objective"):
            return Problem(path, "the objective has a table", "write `[objective]`, `kind = …`")
        if path[0] in _BY_KIND and any(
            key in of.model_fields for of in _BY_KIND[str(path[0])][1]().values()
        ):
            kind = table[path[0]].get("kind")
            names = ", ".join(f"`{name}`" for name in known)
            return Problem(
                path, f"{path[0]} `{kind}` has no key `{key}`", f"remove it; known here: {names}"
            )
        return Problem(path, f"unknown key `{key}`", suggest(str(key), known))
    if kind in ("missing", "union_tag_not_found"):
        what = "table" if _is_table(path) else "key"
        return Problem(path, f"missing {what} `{key}`", "add it")
    value = _value(path, table)
    expected = " or ".join(
        dict.fromkeys(_expected(detail) for detail in details if detail["type"] in _EXPECTED)
    )
    if not expected:
        return Problem(path, details[0]["msg"], details[0].get("ctx", {}).get("hint", ""))
    hint = ""
    if isinstance(value, str):
        choices = expected.replace(" or ", ", ").replace("'", "").replace('"', "").split(", ")
        if kind in ("literal_error", "union_tag_invalid"):
            close = get_close_matches(value, choices, n=1)
            hint = f'did you mean "{close[0]}"?' if close else ""
        elif kind in ("int_type", "float_type", "bool_type"):
            hint = "remove the quotes" if _looks_bare(value) else ""
    return Problem(path, f"expected {expected}, got {describe(value)}", hint)


def _looks_bare(text: str) -> bool:
    """Whether a string has what TOML has without quotes: a number or a truth value."""
    if text in ("true", "false"):
        return True
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _expected(detail: dict[str, Any]) -> str:
    text = _EXPECTED[detail["type"]].format(**detail.get("ctx", {}))
    return text.replace("'", '"')


def describe(value: Any) -> str:
    """A value as a TOML author would name it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'the string "{value}"'
        case int() | float():
            return f"{value}"
        case dict():
            return "a table"
        case list() | tuple():
            return "an array"
        case _:
            return f"`{value}`"


def suggest(key: str, known: list[str]) -> str:
    """A hint for an unknown key: the nearest known one, or all of them."""
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known here: {', '.join(f'`{name}`' for name in known)}" if known else "remove it"


def known_keys(path: KeyPath, table: dict[str, Any]) -> list[str]:
    """The keys that a manifest may have at `path`; for `method` and `objective`
    those of its kind."""
    models: list[type[BaseModel]] = [Manifest]
    for part in path:
        if isinstance(part, str):
            annotations = [
                DataGate if model is DataGates else model.model_fields[part].annotation
                for model in models
                if part in _keys(model)
            ]
            models = [model for annotation in annotations for model in _models_in(annotation)]
        for base, tables in _BY_KIND.values():
            if base in models:
                value, known_tables = _value(path[:1], table), tables()
                kind = value.get("kind") if isinstance(value, dict) else None
                models = [of for name, of in known_tables.items() if name == kind]
                models = models or [*known_tables.values()]
    known = [name for model in models for name in _keys(model)]
    if not path:
        known += ["profiles", "stages"]
    return list(dict.fromkeys(known))


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return names("data_gates") if model is DataGates else tuple(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []


def _is_table(path: KeyPath) -> bool:
    return len(path) == 1 and path[0] in Manifest.model_fields


def _manifest_path(
    location: tuple[int | str, ...], table: dict[str, Any], *, missing: bool
) -> KeyPath:
    """Leave out the parts of an error's location that name an alternative, not a key."""
    path: KeyPath = ()
    value: Any = table
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if _has(value, part):
            value = value[part]
        elif not (missing and last):
            continue
        path = (*path, part)
    return path


def _value(path: KeyPath, table: dict[str, Any]) -> Any:
    value: Any = table
    for part in path:
        if not _has(value, part):
            return None
        value = value[part]
    return value


def _has(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, tuple) and part < len(value)
    return isinstance(value, dict) and part in value
