"""Which trackers a job's metrics may be sent to: those that whoever runs the gateway has allowed.

Invariant: nothing is sent anywhere unless the gateway's configuration names the tenant for it, and
never to an account of the tenant's own: a tracker's key is the workers', not part of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from adapterworks.gateway.config.jobs import IntegrationTable
from adapterworks.gateway.jobs.objects import AskedIntegration
from adapterworks.gateway.request.errors import InvalidField

_OWN = "mlflow."


def allowed(
    tables: Sequence[IntegrationTable], tenant: str, asked: Sequence[AskedIntegration]
) -> tuple[dict[str, Any], ...]:
    """A job's integrations as they are kept and answered.

    Args:
        tenant: by its name.

    Raises:
        InvalidField: one is not allowed, is incomplete, or comes twice.
    """
    kinds = [one.type for one in asked]
    if len(set(kinds)) < len(kinds):
        raise _refused("`integrations` has the same type twice")
    return tuple(_allowed(tables, tenant, one) for one in asked)


def _allowed(
    tables: Sequence[IntegrationTable], tenant: str, asked: AskedIntegration
) -> dict[str, Any]:
    kind = asked.type
    tables_given = {name for name, value in asked if name != "type" and value is not None}
    if tables_given != {kind}:
        raise _refused(f"an integration of type `{kind}` has a table `{kind}`, and no other")
    table = next(
        (one for one in tables if one.type == kind and {tenant, "*"} & set(one.tenants)), None
    )
    if table is None:
        raise _refused(
            f"metrics of yours may not be sent to `{kind}`",
            hint=f"ask whoever runs the gateway for `[[jobs.integrations]]` with `type = "
            f'"{kind}"` and your tenant; what is sent are metrics, to their account',
        )
    values = getattr(asked, kind).model_dump(mode="json")
    project = values.get("project") or values["experiment"]
    patterns = [pattern.replace("{tenant}", _literally(tenant)) for pattern in table.projects]
    if not any(fnmatchcase(project, pattern) for pattern in patterns):
        shown = ", ".join(f"`{one.replace('{tenant}', tenant)}`" for one in table.projects)
        raise _refused(f"`{project}` is no project of yours", hint=f"yours are {shown}")
    own = [tag for tag in values.get("tags") or () if tag.casefold().startswith(_OWN)]
    if own:
        raise _refused(f"tags that begin with `{_OWN}` are MLflow's own: `{own[0]}`")
    if values.get("entity") not in (None, table.entity):
        raise _refused(
            f"the entity `{values['entity']}` may not be named",
            hint="leave it out: whoever runs the gateway says whose projects these are",
        )
    if "entity" in values:  # a tracker that has teams
        values["entity"] = table.entity
    return {"type": kind, kind: values}


def _literally(name: str) -> str:
    """A tenant's name within a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _refused(message: str, hint: str | None = None) -> InvalidField:
    return InvalidField(message, param="integrations", hint=hint)
