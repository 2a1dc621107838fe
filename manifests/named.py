"""The annotation of a manifest's keys that name an entry of a table: known names, the user's files.

Invariant: whose manifest it is decides whether code is run: one that was read from a folder says so
in the validation's context, and the manifest of a release cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from adapterworks.manifests.builtin import BUILTIN, Kind
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.manifests.extensions import load, names
from adapterworks.manifests.graders import GRADER, GraderMetric
from adapterworks.manifests.user_code import PATTERN, UserCode, names_a_file, read_user_code


@dataclass(frozen=True, slots=True)
class Named:
    """Annotation of a manifest's key that names an entry: `Annotated[str, Named("formats")]`.

    Refused like a value of a `Literal` that is none of its own; the JSON Schema has the names.

    Attributes:
        files: code of the user's own can be named too (`user_code.py`).
    """

    kind: Kind
    files: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self._validate, handler(source))

    def _validate(
        self, value: Any, handler: Callable[[Any], str], info: core_schema.ValidationInfo
    ) -> str:
        """A name that brings its code keeps it: pydantic makes a plain string of every other."""
        checked = self._check(handler(value), info)
        return value if isinstance(value, UserCode | GraderMetric) else checked

    def _check(self, value: str, info: core_schema.ValidationInfo) -> str:
        if self.files and value.startswith(GRADER):  # the table that has the graders looks it up
            return value
        if self.files and names_a_file(value):
            return loaded(self.kind, value, info)
        if value not in BUILTIN[self.kind] and value not in names(self.kind):
            expected = _alternatives(names(self.kind))
            raise PydanticKnownError("literal_error", {"expected": expected})
        return loaded(self.kind, value, info)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        named = {**handler(schema), "enum": list(names(self.kind))}
        patterns = (PATTERN, f"^{GRADER}")
        further = [{"type": "string", "pattern": pattern} for pattern in patterns]
        return {"anyOf": [named, *further]} if self.files else named


def loaded(kind: Kind, name: str, info: core_schema.ValidationInfo) -> str:
    """The name, with its code if it is one of the user's files; what is not ours is tried here.

    Nothing is read or imported unless the validation's context says from which folder a manifest
    was read (`{"folder": Path}`, and in `imported` a set for the files that were run), or brings
    the code (`{"code": {name: UserCode}}`): the manifest of a release has neither.
    """
    context = info.context or {}
    if name in (brought := context.get("code", {})):
        code: UserCode = brought[name]
        return code
    folder = context.get("folder")
    if folder is None or name in BUILTIN[kind]:
        return name
    try:
        known = name
        if names_a_file(name):
            known = read_user_code(name, folder)
            if (imported := context.get("imported")) is not None:
                imported.add(name.rpartition(":")[0])
        load(kind, known)
    except AdapterworksError as error:
        raise PydanticCustomError(
            "not_loadable", "{message}", {"message": error.message, "hint": error.hint or ""}
        ) from None
    return known


def _alternatives(values: tuple[str, ...]) -> str:
    """As pydantic writes the values of a `Literal`: `'a', 'b' or 'c'`."""
    quoted = [f"'{value}'" for value in values]
    return " or ".join(part for part in (", ".join(quoted[:-1]), *quoted[-1:]) if part)
