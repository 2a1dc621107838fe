"""`[method]`: the one table whose keys depend on what it names.

Every method brings its own table, in its own file or distribution (`builders/methods/technique.py`:
`Technique.table`); here it is found by `kind` and validated into. A method's code is imported when
a manifest names it, so a distribution that cannot be loaded breaks only what names it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load, names, origin
from adapterworks.manifests.values import Frozen


class MethodTable(Frozen):
    """`[method]`: what every method's table has. A method's own table narrows `kind` to its name,
    `kind: Literal["lora"]`, and adds keys; the docstring under a key is its description."""

    kind: str
    """The method."""


def method_table(kind: str) -> type[MethodTable]:
    """The table of a method.

    Raises:
        InvalidInput: there is no such method, it cannot be loaded, or has no table of its name.
    """
    technique = load("methods", kind)
    if missing := [part for part in ("table", "checks", "cut") if not hasattr(technique, part)]:
        raise InvalidInput(
            f"the method `{kind}` of `{origin('methods', kind)}` has no `{missing[0]}`",
            hint="it must be a `Technique`",
        )
    table = technique.table
    if not (isinstance(table, type) and issubclass(table, MethodTable)):
        raise InvalidInput(
            f"the method `{kind}` of `{origin('methods', kind)}` has no table",
            hint="its `table` must be a subclass of `adapterworks.manifests.method.MethodTable`",
        )
    if (names_ := get_args(table.model_fields["kind"].annotation)) != (kind,):
        raise InvalidInput(
            f"the table of the method `{kind}` of `{origin('methods', kind)}` is for "
            f"{' and '.join(f'`{name}`' for name in names_) or 'any kind'}",
            hint=f'`{table.__name__}` must have `kind: Literal["{kind}"]`',
        )
    return table


def method_tables() -> dict[str, type[MethodTable]]:
    """The tables of all methods that can be loaded, by kind."""
    tables = {}
    for kind in names("methods"):
        try:
            tables[kind] = method_table(kind)
        except InvalidInput:
            continue  # whoever names it is told why
    return tables


class _ByKind:
    """Validates into the table of the method that `kind` names; the schema has them all."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        choices = {kind: table.__pydantic_core_schema__ for kind, table in method_tables().items()}
        return handler(core_schema.tagged_union_schema(choices, discriminator="kind"))


Method = Annotated[MethodTable, _ByKind()]


def _validate(value: Any, info: core_schema.ValidationInfo) -> MethodTable:
    """Errors are those of a tagged union, at the same places."""
    if isinstance(value, MethodTable):
        return value
    if not isinstance(value, dict):
        raise PydanticKnownError("model_attributes_type")
    if "kind" not in value:
        raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
    kind, known = value["kind"], names("methods")
    if kind not in known:
        expected = ", ".join(f"'{name}'" for name in known)
        raise PydanticKnownError(
            "union_tag_invalid",
            {"discriminator": "'kind'", "tag": str(kind), "expected_tags": expected},
        )
    try:
        table = method_table(kind)
    except InvalidInput as error:
        raise _at_kind(value, error) from error
    if info.mode == "json":  # where an array may stand for a tuple
        return table.model_validate_json(json.dumps(value), context=info.context)
    return table.model_validate(value, context=info.context)


def _at_kind(value: dict[str, Any], error: InvalidInput) -> ValidationError:
    why = PydanticCustomError(
        "method_unusable", "{message}", {"message": error.message, "hint": error.hint or ""}
    )
    detail = InitErrorDetails(type=why, loc=("kind",), input=value["kind"])
    return ValidationError.from_exception_data("method", [detail])
