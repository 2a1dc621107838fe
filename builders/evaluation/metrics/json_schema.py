"""Whether an answer is JSON that is valid under the row's own JSON Schema.

Invariant: whatever a row's schema says, nothing is fetched and nothing takes long: references are
looked up in the schema itself and in JSON Schema's own, and patterns have a second to match. What
cannot be validated is refused before anything is trained or asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.code import fenced
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput

_SECONDS = 1.0  # for all patterns of one schema on one answer; `(a+)+$` needs for ever


class _Fault(Exception):
    """Why a schema is none that answers can be held against."""


def _schema_of(row: Row) -> dict[str, Any]:
    """The row's column `schema`: JSON Schema, as a table or as text."""
    given = row.meta.get("schema")
    try:
        schema = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError) as error:
        raise _Fault(str(error)) from error
    if not isinstance(schema, dict):
        raise _Fault("it is no table")
    return schema


def _validator(schema: Mapping[str, Any]) -> Any:
    """Draft 2020-12 with patterns that end."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import ValidationError
    from jsonschema_specifications import REGISTRY

    ends = time.monotonic() + _SECONDS

    def matches(pattern: str, text: str) -> bool:
        import regex

        # A bound that has passed is no bound to `regex`.
        left = max(ends - time.monotonic(), 1e-3)
        return regex.search(pattern, text, timeout=left) is not None

    def of_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(instance, "string") and not matches(pattern, instance):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")

    def of_names(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(instance, "object"):
            for pattern, below in patterns.items():
                for name, value in instance.items():
                    if matches(pattern, name):
                        yield from validator.descend(value, below, path=name)

    def of_others(validator: Any, below: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(instance, "object"):
            known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
            for name, value in instance.items():
                if name not in known and not any(matches(one, name) for one in patterns):
                    yield from validator.descend(value, below, path=name)

    bounded = {
        "pattern": of_pattern,
        "patternProperties": of_names,
        "additionalProperties": of_others,
    }
    return validators.extend(Draft202012Validator, bounded)(schema, registry=REGISTRY)


def _check(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is none, refers to what is not there, or cannot be bounded.

    Raises:
        _Fault: saying why.
    """
    import regex
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _Fault(error.message) from error
    root = DRAFT202012.create_resource(schema)
    left = [(root, REGISTRY.resolver_with_root(root))]
    while left:
        one, resolver = left.pop()
        if not isinstance(one.contents, Mapping):
            continue
        for key in ("$ref", "$dynamicRef"):
            if key in one.contents:
                try:
                    resolver.lookup(one.contents[key])
                except Unresolvable as error:
                    raise _Fault(
                        f"`{key}` says `{one.contents[key]}`, which is not in it; nothing is "
                        "fetched"
                    ) from error
        patterns = [*one.contents.get("patternProperties", ())]
        if patterns and "unevaluatedProperties" in one.contents:
            raise _Fault("`unevaluatedProperties` beside `patternProperties` is not looked at here")
        for pattern in (*patterns, *([p] if (p := one.contents.get("pattern")) else ())):
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise _Fault(f"`{pattern}` is no pattern: {error}") from error
        left += [(below, resolver.in_subresource(below)) for below in one.subresources()]
    try:
        _validator(schema).is_valid(None)
    except RecursionError as error:
        raise _Fault("it refers to itself without end") from error


def _require(rows: Sequence[Row]) -> None:
    checked: set[str] = set()
    for number, row in enumerate(rows, 1):
        try:
            schema = _schema_of(row)
            if (text := json.dumps(schema, sort_keys=True)) not in checked:
                _check(schema)
                checked.add(text)
        except _Fault as error:
            raise InvalidInput(
                f"row {row.number or number} has no JSON Schema in its column `schema`: {error}",
                hint="`json_schema` holds an answer against it",
            ) from error


def _valid(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    _require(rows)
    return [
        float(_is_valid(fenced(prediction.text), _schema_of(row)))
        for prediction, row in zip(predictions, rows, strict=True)
    ]


def _is_valid(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether it is; what is nested too deep, takes too long to match, or holds a number that is
    none of a machine's (`1e400`, where a `multipleOf` divides it) is not."""
    try:
        return bool(_validator(schema).is_valid(json.loads(text)))
    except (ValueError, ArithmeticError, RecursionError, TimeoutError):
        return False


JSON_SCHEMA = replace(
    mean_metric("json_schema", "The answer is JSON that is valid under the row's `schema`", _valid),
    reads_columns=True,
    require=_require,
    packages=("jsonschema", "jsonschema-specifications", "referencing", "regex"),
)
