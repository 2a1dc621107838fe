"""`[method]`: a table whose keys depend on the method that it names (`by_kind.py`).

Every method brings its own, in its own file or distribution (`builders/methods/technique.py`:
`Technique.table`).
"""

from __future__ import annotations

from typing import Annotated, get_args

from adapterworks.manifests.by_kind import ByKind
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


Method = Annotated[MethodTable, ByKind("methods", MethodTable, method_table, method_tables)]
