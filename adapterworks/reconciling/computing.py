"""What would compute each stage of a manifest's build here: code, packages, what it begins from."""

from __future__ import annotations

import contextlib
from typing import Any

from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, reference_ref
from adapterworks.reconciling.build_inputs import added_in, no_origins, pinned
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry


def code_of(manifest: Manifest, registry: Registry, bases: BaseStore) -> dict[str, dict[str, Any]]:
    """By stage, as `BuildInputs` has it.

    Raises:
        NotFound: there is no such release.
    """
    from adapterworks.builders.building.surroundings import metric_code, named_files
    from adapterworks.builders.plan.digests import training_packages
    from adapterworks.builders.plan.pins import pins
    from adapterworks.builders.publishing.adapter_lock import environment, semantics

    code: dict[str, dict[str, Any]] = {
        stage: {"semantics": number} for stage, number in semantics().items()
    }
    files = {k: v for k, v in named_files(manifest).items() if k.startswith("train.")}
    code["train"] |= training_packages(manifest, environment().packages) | files
    code["train"] |= _origins(manifest, registry, bases)
    code["evaluate"] |= metric_code(manifest)
    for pin in pins(manifest):
        key, digest = pinned(pin.to_json())
        code.setdefault(added_in(pin.table), {})[key] = digest
    return code


def _origins(manifest: Manifest, registry: Registry, bases: BaseStore) -> dict[str, Any]:
    """What the manifest begins with, is held near and is taught by, as its refs are now; nothing of
    a teacher whose base is not prepared here."""
    from adapterworks.builders.plan.origins import Origins

    found = no_origins() | Origins.declared(manifest).to_json()
    if manifest.start is not None:
        try:
            found["start"] = registry.resolve(manifest.start.ref).digest
        except NotFound:
            if manifest.before is None:  # else the stage before is built first
                raise
    if (other := reference_ref(manifest.objective)) is not None:
        found["reference"] = registry.resolve(other).digest
    if (rewarding := getattr(manifest.objective, "reward_release", None)) is not None:
        found["reward"] = registry.resolve(rewarding).digest
    if (teacher := getattr(manifest.objective, "teacher", None)) is not None:
        found["teacher"] = teacher if teacher == BASE else registry.resolve(teacher).digest
    if (other := getattr(manifest.objective, "teacher_base", None)) is not None:
        del found["teacher"]
        with contextlib.suppress(NotFound):
            if (base := bases.prepared(other)) is not None:
                found["teacher"] = base.digest
    return found
