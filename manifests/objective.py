"""`[objective]`: a table whose keys depend on the objective that it names (`by_kind.py`).

An objective with keys brings its own table, in its own file or distribution
(`builders/objectives/objective.py`: `Objective.table`); one without has `kind` alone.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, create_model

from adapterworks.manifests.by_kind import ByKind
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import load, names, origin
from adapterworks.manifests.refs import parse_ref
from adapterworks.manifests.values import Frozen, PositiveFloat

# What `reference` can say beside a ref.
START, BASE, NEAREST = "start", "base", "nearest"


class ObjectiveTable(Frozen):
    """`[objective]`: what is learnt from the rows. An objective's own table narrows `kind` to its
    name, `kind: Literal["dpo"]`, and adds keys; the docstring under a key is its description."""

    kind: str
    """The objective."""

    @property
    def learns_answers(self) -> bool:
        """Whether rows' own answers are learnt; else what they ask is all that is encoded."""
        return True


class ReferenceTable(ObjectiveTable):
    """`[objective]` of what is held near a reference policy."""

    reference: str = START
    """The policy that the trained one is held near: `start` (as it is before the first step: the
    release that `[start]` names, else the new adapter), `base` (without any adapter), or a ref."""
    max_start_distance: PositiveFloat = 1e-5
    """The most that policy and reference may differ by before the first step, in nats a token; the
    build refuses more. Only a reference that is meant to be another policy needs a larger one."""


@cache
def _narrowed(kind: str) -> type[ObjectiveTable]:
    """The table of an objective without keys of its own, for the schema: of this name alone."""
    return create_model(
        f"{kind.title().replace('-', '')}ObjectiveTable",
        __base__=ObjectiveTable,
        __doc__="No keys of its own.",
        kind=(cast(Any, Literal)[kind], Field(description="The objective.")),
    )


def objective_table(kind: str) -> type[ObjectiveTable]:
    """The table of an objective.

    Raises:
        InvalidInput: there is no such objective, it cannot be loaded, or has a table of another.
    """
    objective = load("objectives", kind)
    where = f"the objective `{kind}` of `{origin('objectives', kind)}`"
    table = getattr(objective, "table", None)
    if not (isinstance(table, type) and issubclass(table, ObjectiveTable)):
        raise InvalidInput(
            f"{where} has no table",
            hint="it must be an `Objective`; a `table` of its own a subclass of "
            "`adapterworks.manifests.objective.ObjectiveTable`",
        )
    if table is ObjectiveTable:
        return table
    named = get_args(table.model_fields["kind"].annotation)
    if named != (kind,):
        raise InvalidInput(
            f"the table of the objective `{kind}` of `{origin('objectives', kind)}` is for "
            f"{' and '.join(f'`{name}`' for name in named) or 'any kind'}",
            hint=f'`{table.__name__}` must have `kind: Literal["{kind}"]`',
        )
    return table


def objective_tables() -> dict[str, type[ObjectiveTable]]:
    """The tables of all objectives that can be loaded, by kind."""
    tables = {}
    for kind in names("objectives"):
        try:
            table = objective_table(kind)
            tables[kind] = _narrowed(kind) if table is ObjectiveTable else table
        except InvalidInput:
            continue  # whoever names it is told why
    return tables


def reference_ref(table: ObjectiveTable) -> str | None:
    """The release that a table names as the reference; None where it is `start` or `base`.

    Raises:
        InvalidInput: it is no ref.
    """
    reference = getattr(table, "reference", START)
    if reference in (START, BASE):
        return None
    parse_ref(reference)
    return str(reference)


ObjectiveSetting = Annotated[
    ObjectiveTable, ByKind("objectives", ObjectiveTable, objective_table, objective_tables)
]
