"""What goes for good, for administrators: bytes that nothing needs, a file's bytes, a tenant."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.sending import digest_of
from adapterworks.gateway.http.routes.registry.writing import name_of, version_of
from adapterworks.gateway.tenants.erasing import TenantErasure
from adapterworks.registry.jobs.folders import forget
from adapterworks.registry.lifecycle.erase import Erasure


def collect(asked: Asked, body: bodies.Collection) -> dict[str, Any]:
    """Bytes that nothing needs go to the trash, or would go.

    Beside them go captured answers that have expired, and the folders of jobs that ended longer ago
    than the grace, on the server's machine.
    """
    registry, now = asked.registry, time.time()
    report = registry.upkeep.gc(grace=body.grace, unlisted=body.unlisted, dry_run=body.dry_run)
    captured = asked.desk.exchanges if (registry.home / "exchanges").is_dir() else None
    expired = 0
    if captured is not None:
        expired = captured.expired(now) if body.dry_run else captured.sweep(now)
    jobs = forget(registry.database, registry.home, now - body.grace, dry_run=body.dry_run)
    if not body.dry_run:
        registry.database.settle()
    return {
        "object": "registry.collection",
        "report": dataclasses.asdict(report),
        "expired": expired,
        "jobs": jobs,
    }


def look(asked: Asked) -> dict[str, Any]:
    """What erasing a file's bytes would concern."""
    return _shown(asked.registry.upkeep.look_at_erasure(digest_of(asked)))


def erase(asked: Asked, body: bodies.Erasing) -> dict[str, Any]:
    """A file's bytes go for good; the record keeps their digest."""
    done = asked.registry.upkeep.erase(digest_of(asked), who=asked.caller.person, why=body.why)
    return _shown(done)


def look_at_purge(asked: Asked) -> dict[str, Any]:
    """What purging a version would concern."""
    found = asked.registry.upkeep.look_at_purge(name_of(asked), version_of(asked))
    return {"object": "registry.purge", **dataclasses.asdict(found), "copies": []}


def purge(asked: Asked, body: bodies.Purging) -> dict[str, Any]:
    """A version is deleted, and the bytes that are its alone go for good."""
    done = asked.registry.upkeep.purge(
        name_of(asked),
        version_of(asked),
        with_aliases=body.with_aliases,
        who=asked.caller.person,
        why=body.why,
    )
    copies = [path.name for path in done.copies]
    return {"object": "registry.purge", **dataclasses.asdict(done), "copies": copies}


def of_tenant(asked: Asked) -> dict[str, Any]:
    """What erasing a tenant would remove, and who has learnt its rows."""
    found = _erasure(asked).look(asked.path("tenant"))
    return {"object": "tenant.holding", **to_jsonable_python(found)}


def erase_tenant(asked: Asked, body: bodies.Erasing) -> dict[str, Any]:
    """All that was kept of a tenant goes, with its key."""
    done = _erasure(asked).erase(asked.path("tenant"), who=asked.caller.person, why=body.why)
    return {"object": "tenant.erasure", **to_jsonable_python(done)}


def _erasure(asked: Asked) -> TenantErasure:
    return TenantErasure(asked.registry, asked.desk.exchanges)


def _shown(found: Erasure) -> dict[str, Any]:
    """Without where the server keeps its copies."""
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    holders = [dataclasses.asdict(holder) for holder in found.holders]
    return {
        "object": "registry.erasure",
        **values,
        "holders": holders,
        "pushed": list(found.pushed),
        "copies": [path.name for path in found.copies],
        "reviews": list(found.reviews),
    }
