"""Who a tenant is, by whatever it is called: datasets and manifests say its name, what its own jobs
have made says its id.

The gateway keeps tenants in the index, and names and ids are all that is read of them here.

Invariant: a name is the tenant's that has it now, or had it last; the id of another tenant that had
the name before stays an id, so that nobody inherits rows with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from adapterworks.registry.index.database import Database

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

_TENANTS = sa.table(
    "gateway_tenants",
    sa.column("id", sa.Text),
    sa.column("name", sa.Text),
    sa.column("created", sa.Double),
    sa.column("removed", sa.Double),
)


@dataclass(frozen=True)
class Tenants:
    """What tenants of this index are called.

    Attributes:
        names: id → name, of those whose name is nobody else's by now.
    """

    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, tenant: str) -> str:
        """One word for a tenant that is told by its name or by its id: its name, where known."""
        return self.names.get(tenant, tenant)

    def among(self, tenant: str, others: Iterable[str | None]) -> bool:
        """Whether a tenant is one of the others."""
        return self.name(tenant) in {self.name(other) for other in others if other is not None}


NOBODY = Tenants()


def tenants_of(registry: Registry) -> Tenants:
    """The tenants of a registry's index; nobody where it is behind a server, or has no gateway."""
    return known_tenants(registry.database) if registry.has_index else NOBODY


def known_tenants(database: Database) -> Tenants:
    """The tenants of an index, removed ones too."""
    found: dict[str, str] = {}
    with database.read() as connection:
        if not sa.inspect(connection).has_table(_TENANTS.name):
            return NOBODY
        query = sa.select(_TENANTS.c.id, _TENANTS.c.name).order_by(
            _TENANTS.c.removed.is_(None), _TENANTS.c.created
        )
        for row in connection.execute(query):
            found[row.name] = row.id  # the last one stays: who has it now
    return Tenants({id: name for name, id in found.items()})
