"""Tables whose keys depend on the entry that they name by `kind`: `[method]` and `[objective]`.

Every entry brings its own table, in its own file or distribution; here it is found by `kind` and
validated into. An entry's code is imported when a manifest names it, so a distribution that cannot
be loaded breaks only what names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)

from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import names
from adapterworks.manifests.values import Frozen


@dataclass(frozen=True, slots=True)
class ByKind:
    """Annotation: validates into the table of the entry that `kind` names; the schema has all.

    Attributes:
        entries: the table of entries whose names `kind` may have.
        base: what each entry's table is a subclass of.
        table: the table of an entry by its name; raises `InvalidInput`.
        tables: those of all entries that can be loaded.
        absent: names that people know and that are no entry here → why not, and what to use.
    """

    entries: Kind
    base: type[Frozen]
    table: Callable[[str], type[Frozen]]
    tables: Callable[[], Mapping[str, type[Frozen]]]
    absent: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        choices = {kind: table.__pydantic_core_schema__ for kind, table in self.tables().items()}
        return handler(core_schema.tagged_union_schema(choices, discriminator="kind"))

    def _validate(self, value: Any, info: core_schema.ValidationInfo) -> Frozen:
        """Errors are those of a tagged union, at the same places."""
        if isinstance(value, self.base):
            return value
        if not isinstance(value, dict):
            raise PydanticKnownError("model_attributes_type")
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        kind, known = value["kind"], names(self.entries)
        if kind not in known and isinstance(kind, str) and kind.lower() in self.absent:
            why, hint = self.absent[kind.lower()]
            raise _at_kind(value, InvalidInput(why, hint=hint))
        if kind not in known:
            expected = ", ".join(f"'{name}'" for name in known)
            raise PydanticKnownError(
                "union_tag_invalid",
                {"discriminator": "'kind'", "tag": str(kind), "expected_tags": expected},
            )
        try:
            table = self.table(kind)
        except InvalidInput as error:
            raise _at_kind(value, error) from error
        if info.mode == "json":  # where an array may stand for a tuple
            return table.model_validate_json(json.dumps(value), context=info.context)
        return table.model_validate(value, context=info.context)


def _at_kind(value: dict[str, Any], error: InvalidInput) -> ValidationError:
    why = PydanticCustomError(
        "entry_unusable", "{message}", {"message": error.message, "hint": error.hint or ""}
    )
    detail = InitErrorDetails(type=why, loc=("kind",), input=value["kind"])
    return ValidationError.from_exception_data("table", [detail])
