"""From a request to a queued fine-tuning job: everything that can be refused is refused here.

Invariant: a job that is queued names a base that this gateway serves, rows that fit its method, and
a manifest without a fault; nothing that its tenant may not use is in it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Any

from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.integrating import allowed
from adapterworks.gateway.jobs.objects import (
    AskedJob,
    Hyperparameters,
    PreferenceHyperparameters,
    ReinforcementHyperparameters,
)
from adapterworks.gateway.jobs.reinforcing import graded
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.jobs.template import check_manifest
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.patterns import BASE_PREFIX
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.extensions import names
from adapterworks.manifests.refs import parse_ref
from adapterworks.registry.jobs import events, putting
from adapterworks.registry.jobs.files import File
from adapterworks.registry.jobs.fine_tuning import (
    METHODS,
    REINFORCEMENT,
    Asked,
    Rows,
    Start,
    continued,
)
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, Job, NewJob

_LONGEST_NAME = 64


def create(gateway: Gateway, room: Room, tenant: Tenant, asked: AskedJob) -> Job:
    """Queue a job.

    Raises:
        InvalidField: a field cannot be honoured.
        NotFound: the model does not exist, or may not be used.
        Conflict: the tenant has as many jobs as it may.
    """
    with room.database.read() as connection:  # before anything is read for it
        putting.require_room(connection, tenant.id, FINE_TUNING, room.table.max_queued)
    base, start = _begins_with(gateway, tenant, asked.model)
    method, hyper = _method(asked)
    training = _rows(room, tenant, asked.training_file, method, "training_file")
    validation = (
        None
        if asked.validation_file is None
        else _rows(room, tenant, asked.validation_file, method, "validation_file")
    )
    integrations = allowed(room.table.integrations, tenant.name, asked.integrations or ())
    beta = hyper.beta if isinstance(hyper, PreferenceHyperparameters) else "auto"
    more: dict[str, Any] = {}
    if method == REINFORCEMENT:
        table = asked.method.reinforcement if asked.method is not None else None
        until = time.monotonic() + room.table.upload_seconds
        python = room.table.python_graders
        more = graded(gateway.registry.blobs, table, training, validation, until, python=python)
    if isinstance(hyper, ReinforcementHyperparameters):
        more["compute_multiplier"] = _number(hyper.compute_multiplier)
    wanted = Asked(
        name=name_of(tenant, asked.suffix or _usual(tenant, base.name, start)),
        model=asked.model,
        base=base.name,
        quantization=base.quantization,
        base_digest=base.digest,
        method=method,
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        training=training,
        validation=validation,
        n_epochs=_number(hyper.n_epochs),
        batch_size=_number(hyper.batch_size),
        learning_rate_multiplier=_number(hyper.learning_rate_multiplier),
        beta=_number(beta),
        start=start,
        integrations=integrations,
        template=room.template,
        who=f"tenant {tenant.name}",
        **more,
    )
    check_manifest(wanted, "the job")
    new = NewJob(
        FINE_TUNING,
        tenant.id,
        BUILD_LANE,
        wanted.model_dump(mode="json"),
        weight=tenant.weight,
        most_running=room.table.max_running,
        labels=asked.metadata or {},
    )
    now = time.time()
    with room.database.write() as connection:
        job = putting.put(connection, new, now=now, most_queued=room.table.max_queued)
        blobs = [rows.blob for rows in (training, validation) if rows is not None]
        putting.hold_files(connection, job.id, blobs)
        events.add(connection, job.id, f"created job {job.id}", now)
        for one in integrations:
            said = f"its metrics are sent to `{one['type']}`"
            events.add(connection, job.id, said, now)
        if validation is None:
            said = "without a `validation_file` no gate judges the result"
            events.add(connection, job.id, said, now, "warn")
    return job


def _begins_with(gateway: Gateway, tenant: Tenant, model: str) -> tuple[ServedBase, Start | None]:
    """The base that is trained on, and the release of the tenant's own that is continued."""
    bases = gateway.pool.bases()
    base = bases.get(model)
    if base is not None and tenant.may_use(BASE_PREFIX + base.name):
        return base, None
    try:
        ref = parse_ref(model)
        if base is not None or not tenant.owns(ref.name):
            raise missing(model)
        found = gateway.registry.resolve(ref)
    except (NotFound, InvalidInput) as error:
        raise missing(model) from error
    release = gateway.registry.release(found.digest)
    base = next((one for one in bases.values() if one.digest == release.base.digest), None)
    if base is None:
        raise InvalidField(
            f"`{model}` was trained on a base that is not served here any more",
            param="model",
            hint="begin with a base: `GET /v1/models` lists those you may use",
        )
    method = continued(release.declared("method"))
    if not method:
        raise InvalidField(
            f"`{model}` does not say how it was trained, so it cannot be continued", param="model"
        )
    return base, Start(ref=f"{found.name}@{found.version}", method=method)


def _usual(tenant: Tenant, base: str, start: Start | None) -> str:
    """What the result is called without a suffix: as what is continued, or its base."""
    if start is None:
        return base
    return start.ref.partition("@")[0].removeprefix(tenant.prefix)


def _method(asked: AskedJob) -> tuple[str, Hyperparameters]:
    """The method's name and numbers."""
    if asked.method is None:
        return "supervised", asked.hyperparameters or Hyperparameters()
    if asked.hyperparameters is not None:
        raise InvalidField(
            "`hyperparameters` and `method` exclude each other", param="hyperparameters"
        )
    kind = asked.method.type
    known = METHODS.get(kind)
    given = {
        "supervised": asked.method.supervised,
        "dpo": asked.method.dpo,
        REINFORCEMENT: asked.method.reinforcement,
    }
    if known is None or not _is_there(known.objective, known.kinds.values()):
        raise InvalidField(
            f"the method `{kind}` is not available here",
            param="method",
            hint="`supervised` always is",
        )
    if any(value is not None for name, value in given.items() if name != kind):
        raise InvalidField(f"`method` is `{kind}` and has another one's table", param="method")
    chosen = given[kind]
    return kind, chosen.hyperparameters if chosen is not None else Hyperparameters()


def _is_there(objective: str, formats: Any) -> bool:
    here = not objective or objective in names("objectives")
    return here and set(formats) <= set(names("formats"))


def _rows(room: Room, tenant: Tenant, file: str, method: str, param: str) -> Rows:
    try:
        found: File = room.files.get(file, tenant.id)
    except NotFound as error:
        raise InvalidField(error.message, param=param, hint=error.hint) from error
    if found.purpose != "fine-tune":
        raise InvalidField(
            f"`{file}` was uploaded for `{found.purpose}`",
            param=param,
            hint="upload it with `purpose=fine-tune`",
        )
    if found.kind not in METHODS[method].kinds:
        raise InvalidField(f"`{method}` does not learn from {found.kind} rows", param=param)
    return Rows(file=found.id, blob=found.blob, kind=found.kind)


def name_of(tenant: Tenant, suffix: str) -> str:
    """The adapter's name: the tenant's own prefix, and the suffix in the alphabet of names."""
    word = re.sub(r"[^a-z0-9._-]+", "-", suffix.lower()).strip("-._") or "model"
    room = _LONGEST_NAME - len(tenant.prefix)
    lost = any(letter.isalnum() and not letter.isascii() for letter in suffix)
    if lost or len(word) > room:  # what differs in what is lost, or late, is two names
        digest = hashlib.sha256(suffix.encode()).hexdigest()[:8]
        word = f"{word[: room - 9]}-{digest}"
    return tenant.prefix + word


def _number(value: Any) -> Any:
    return None if value == "auto" else value
