"""Every path of the registry with the role that it asks for: who may do what is read here."""

from __future__ import annotations

from starlette.routing import Route

from adapterworks.gateway.http.routes.registry import (
    access,
    administering,
    blobs,
    bodies,
    collecting,
    datasets,
    feedback,
    operating,
    reading,
    release,
    seals,
    sending,
    tenants,
    webhooks,
    writing,
)
from adapterworks.gateway.http.routes.registry.access import Entry, Reading, Sending, Writing
from adapterworks.gateway.tokens.roles import Role

_NAME, _VERSION = "/adapters/{name}", "/adapters/{name}/versions/{version}"
_ALIAS = "/adapters/{name}/aliases/{alias}"
_TENANT = "/tenants/{tenant}"
_JOB = "/jobs/{job}"
TABLE: tuple[Entry, ...] = (
    Reading("/me", Role.READER, reading.me),
    Reading("/adapters", Role.READER, reading.adapters),
    Reading("/adapters/{name}", Role.READER, reading.adapter),
    Reading("/adapters/{name}/versions", Role.READER, reading.versions),
    Reading("/adapters/{name}/versions/{version}", Role.READER, reading.version),
    Reading("/adapters/{name}/aliases", Role.READER, reading.aliases),
    Reading("/adapters/{name}/log", Role.READER, reading.log),
    Reading("/adapters/{name}/lineage", Role.READER, reading.lineage),
    Reading("/search", Role.READER, reading.search),
    Reading("/found", Role.READER, reading.found),
    Reading("/refs/{ref}", Role.READER, reading.resolved),
    Reading("/releases/{ref}", Role.READER, release.release),
    Reading("/releases/{ref}/diff/{other}", Role.READER, reading.differences),
    Reading("/blobs/{digest}", Role.READER, blobs.blob),
    Reading("/settings", Role.READER, administering.settings),
    Reading("/sent/{digest}", Role.PUBLISHER, sending.received),
    Sending("/sent/{digest}", Role.PUBLISHER, sending.send),
    Writing(f"{_NAME}/versions", Role.PUBLISHER, "publish", bodies.Publication, writing.publish),
    Reading("/seals", Role.PUBLISHER, seals.listed),
    Reading("/erased-rows", Role.PUBLISHER, seals.erased),
    Reading("/seals/{digest}", Role.PUBLISHER, seals.content),
    Writing("/seals", Role.PUBLISHER, "seal", bodies.NewSeal, seals.add),
    Writing(f"{_VERSION}/tags", Role.PUBLISHER, "tag", bodies.Tags, writing.tag),
    Writing(
        f"{_VERSION}/deprecation",
        Role.PUBLISHER,
        "deprecate",
        bodies.Deprecation,
        writing.deprecate,
    ),
    Writing(f"{_VERSION}/notes", Role.PUBLISHER, "note", bodies.Note, writing.note),
    Writing("/releases/{ref}/signatures", Role.PUBLISHER, "sign", bodies.Signature, writing.sign),
    Reading("/requests", Role.READER, writing.requests),
    Writing(f"{_ALIAS}/requests", Role.PUBLISHER, "request", bodies.Wish, writing.request),
    Writing(
        "/requests/{request}/approval", Role.PROMOTER, "approve", bodies.Decision, writing.approve
    ),
    Writing("/requests/{request}/denial", Role.PROMOTER, "deny", bodies.Decision, writing.deny),
    Writing(_ALIAS, Role.PROMOTER, "promote", bodies.Move, writing.move),
    Writing(f"{_ALIAS}/rollback", Role.PROMOTER, "rollback", bodies.Back, writing.rollback),
    Writing(f"{_ALIAS}/retirement", Role.PROMOTER, "retire", bodies.Back, writing.retire),
    Writing(f"{_VERSION}/deletion", Role.ADMIN, "delete", bodies.Deletion, administering.delete),
    Writing(
        "/releases/{ref}/revocation",
        Role.ADMIN,
        "revoke",
        bodies.Revocation,
        administering.revoke,
    ),
    Reading("/tokens", Role.ADMIN, administering.tokens),
    Writing("/tokens", Role.ADMIN, "token.create", bodies.NewToken, administering.create_token),
    Writing(
        "/tokens/{token}/revocation",
        Role.ADMIN,
        "token.revoke",
        bodies.Nothing,
        administering.revoke_token,
    ),
    Reading("/tenants", Role.ADMIN, tenants.listed),
    Writing("/tenants", Role.ADMIN, "tenant.add", bodies.NewTenant, tenants.add),
    Reading(_TENANT, Role.ADMIN, tenants.one),
    Writing(_TENANT, Role.ADMIN, "tenant.set", bodies.TenantChange, tenants.change),
    Writing(f"{_TENANT}/removal", Role.ADMIN, "tenant.remove", bodies.Nothing, tenants.remove),
    Writing(f"{_TENANT}/keys", Role.ADMIN, "key.add", bodies.NewKey, tenants.add_key),
    Writing("/keys/{key}/revocation", Role.ADMIN, "key.revoke", bodies.Nothing, tenants.revoke_key),
    Reading("/tenant-log", Role.ADMIN, tenants.log),
    Writing(
        "/settings",
        Role.ADMIN,
        "settings",
        bodies.NewSettings,
        administering.keep_settings,
    ),
    Reading("/usage", Role.ADMIN, operating.used),
    Reading("/jobs", Role.ADMIN, operating.jobs),
    Reading(_JOB, Role.ADMIN, operating.job),
    Reading(f"{_JOB}/events", Role.ADMIN, operating.told),
    Writing(f"{_JOB}/pause", Role.ADMIN, "job.pause", bodies.Nothing, operating.pause),
    Writing(f"{_JOB}/resumption", Role.ADMIN, "job.resume", bodies.Nothing, operating.resume),
    Writing(f"{_JOB}/cancellation", Role.ADMIN, "job.cancel", bodies.Nothing, operating.cancel),
    Reading("/datasets", Role.PUBLISHER, datasets.listed),
    Reading("/datasets/{name}", Role.PUBLISHER, datasets.one),
    Reading("/rows/{digest}", Role.ADMIN, datasets.rows),
    Reading("/feedback", Role.ADMIN, feedback.listed),
    Writing("/feedback", Role.ADMIN, "feedback.add", bodies.NewFeedback, feedback.add),
    Reading("/feedback/exchanges", Role.ADMIN, feedback.exchanges),
    Reading("/webhooks", Role.ADMIN, webhooks.listed),
    Writing(
        "/webhooks/{event}/resending",
        Role.ADMIN,
        "webhook.resend",
        bodies.Resending,
        webhooks.resend,
    ),
    Writing("/collection", Role.ADMIN, "gc", bodies.Collection, collecting.collect),
    Reading("/erasures/{digest}", Role.ADMIN, collecting.look),
    Writing("/erasures/{digest}", Role.ADMIN, "erase", bodies.Erasing, collecting.erase),
    Reading(f"{_VERSION}/purge", Role.ADMIN, collecting.look_at_purge),
    Writing(f"{_VERSION}/purge", Role.ADMIN, "purge", bodies.Purging, collecting.purge),
    Reading(f"{_TENANT}/holding", Role.ADMIN, collecting.of_tenant),
    Writing(
        f"{_TENANT}/erasure", Role.ADMIN, "tenant.erase", bodies.Erasing, collecting.erase_tenant
    ),
    Reading("/trail", Role.ADMIN, administering.trail_of_changes),
)


def routes() -> list[Route]:
    """The paths."""
    return access.routes(TABLE)
