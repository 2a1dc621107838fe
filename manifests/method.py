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


_BOTTLENECK = (
    "adapter tuning (bottleneck adapters, Houlsby et al. 2019, arXiv:1902.00751) is not trained "
    "here: layers with a non-linearity between those of the base fold into no weight, and into no "
    "keys and values, and the engine loads nothing else, so what was learnt could not be served",
    'use `method.kind = "lora"` on all linears, with the adapter\'s width as `rank`: a parallel '
    "adapter without the non-linearity (He et al. 2022, arXiv:2110.04366)",
)
ABSENT = dict.fromkeys(
    ("bottleneck", "bottleneck-adapter", "adapter", "adapters", "adapter-tuning", "houlsby",
     "pfeiffer", "parallel-adapter"),
    _BOTTLENECK,
)  # fmt: skip
"""Methods that people know by name and that cannot be served: why, and what to use instead."""

Method = Annotated[MethodTable, ByKind("methods", MethodTable, method_table, method_tables, ABSENT)]
