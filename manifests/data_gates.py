"""`[data.gates]`: which data gates run, and how strictly.

What a gate does where the manifest is silent is said in the gate's own file; here it is laid under
what the manifest says. Built-in gates are always in the resolved table, so that a release tells
which of them ran; others are in it where they are named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, ItemsView
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    RootModel,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticKnownError

from adapterworks.manifests.builtin import BUILTIN
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.manifests.extensions import load, names
from adapterworks.manifests.named import loaded
from adapterworks.manifests.user_code import PATTERN, names_a_file, read_user_code
from adapterworks.manifests.values import Frozen


class DataGate(Frozen):
    """One data gate."""

    on: bool = True
    """`false` turns the gate off."""
    threshold: float | None = None
    """The gate's threshold, in its own unit."""
    action: Literal["fail", "drop", "warn"] = "warn"
    """What happens to offending rows: stop the build, leave them out, or only report them."""


def _known(name: str, info: ValidationInfo) -> str:
    """The gate's name, with its code if it is one of the user's files."""
    if not names_a_file(name) and name not in names("data_gates"):
        raise PydanticKnownError("extra_forbidden")
    return loaded("data_gates", name, info)


class DataGates(RootModel[dict[Annotated[str, AfterValidator(_known)], DataGate]]):
    """`[data.gates]`: the checks run on rows before training; each reports its offending rows."""

    model_config = ConfigDict(frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_what_is_not_given(cls, values: Any, info: ValidationInfo) -> Any:
        """`secrets.on = true` must not turn its `fail` into the general `warn`."""
        if not isinstance(values, dict):
            return values
        folder = (info.context or {}).get("folder")
        table: dict[Any, Any] = {name: standard_gate(name).model_dump() for name in _BUILT_IN}
        for name, given in values.items():
            standard = table.get(name) or _standard(name, folder)
            table[name] = {**standard, **given} if isinstance(given, dict) else given
        return table

    def __getitem__(self, name: str) -> DataGate:
        return self.root[name]

    def items(self) -> ItemsView[str, DataGate]:
        """Name and setting of each gate, built-in ones first."""
        return self.root.items()

    def only(self, keep: Callable[[DataGate], bool]) -> DataGates:
        """The same gates, those off that `keep` does not want."""
        off = {"on": False}
        return self.model_copy(
            update={
                "root": {
                    name: gate if keep(gate) else gate.model_copy(update=off)
                    for name, gate in self.items()
                }
            }
        )

    def without(self, name: str) -> DataGates:
        """The same gates, one of them off."""
        off = {name: self[name].model_copy(update={"on": False})} if name in self.root else {}
        return self.model_copy(update={"root": {**self.root, **off}})

    def acting(self, action: Literal["fail", "drop", "warn"], which: Collection[str]) -> DataGates:
        """The same gates, some of them with another action, and on."""
        changed = {
            name: gate.model_copy(update={"action": action, "on": True}) if name in which else gate
            for name, gate in self.items()
        }
        return self.model_copy(update={"root": changed})

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """As a table with a key for each gate that is known here."""
        described = handler.resolve_ref_schema(handler(schema))
        gate = described.pop("additionalProperties")
        described.pop("propertyNames", None)
        described["properties"] = {
            name: {**gate, **_described(name)} for name in names("data_gates")
        }
        described["patternProperties"] = {PATTERN: gate}
        described["additionalProperties"] = False
        return described


_BUILT_IN = tuple(BUILTIN["data_gates"])


def standard_gate(name: str) -> DataGate:
    """A gate's setting where the manifest says no more than its name.

    Raises:
        InvalidInput: it cannot be loaded.
    """
    gate = load("data_gates", name)
    return DataGate(threshold=gate.threshold, action=gate.action)


def standard_gates() -> DataGates:
    """The table of a manifest that does not mention gates."""
    return DataGates.model_validate({})


def _standard(name: Any, folder: Any) -> dict[str, Any]:
    """The standard setting of a gate that is not built in; empty where it cannot be had."""
    try:
        if not names_a_file(name):
            return standard_gate(name).model_dump() if name in names("data_gates") else {}
        return standard_gate(read_user_code(name, folder)).model_dump() if folder else {}
    except AdapterworksError:
        return {}  # reported for the key


def _described(name: str) -> dict[str, Any]:
    """A gate's default and description for the schema; why there are none, if it is broken."""
    try:
        description = load("data_gates", name).description
        return {"default": standard_gate(name).model_dump(), "description": description}
    except AdapterworksError as error:
        return {"description": error.message}
