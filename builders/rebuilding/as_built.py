"""The manifest of a release as it was built: with what has moved, or been decided, since then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.models import Manifest, StartTable
from adapterworks.manifests.naming import manifest_of_release
from adapterworks.manifests.paths import place
from adapterworks.manifests.sources import FileSource, parse_base
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.releases.release import Release


def manifest_of(
    release: Release, lock: Mapping[str, Any], title: str, own: Manifest | None
) -> Manifest:
    """The release's manifest with the micro batch it was trained with, which orders the sums, and
    with as many answers generated together."""
    digests = {pin["name"]: pin["digest"] for pin in lock.get("extensions", ())}
    manifest = manifest_of_release(release.manifest or {}, title, own=own, digests=digests)
    train = {"trackers": (), "tracking": (), "micro_batch_size": lock.get("micro_batch")}
    if train["micro_batch_size"] is None:
        train["micro_batch_size"] = manifest.train.micro_batch_size
    changed: dict[str, Any] = {"train": manifest.train.model_copy(update=train)}
    if generated := lock.get("generation_batch"):
        kept = {"generation_batch_size": generated}
        changed["objective"] = manifest.objective.model_copy(update=kept)
    return _with_origins(manifest.model_copy(update=changed), release)


def _with_origins(manifest: Manifest, release: Release) -> Manifest:
    """The releases that it began from and was held near, by their digests: an alias may have moved
    and a name mean something else since."""
    exact = {
        parent.relation: f"{(parent.ref or '').partition('@')[0]}@{parent.digest}"
        for parent in release.parents
        if parent.digest is not None and parent.ref is not None
    }
    changed: dict[str, Any] = {}
    begun = exact.get("start", exact.get("stage"))
    if manifest.start is not None and begun is not None:
        changed["start"] = StartTable.model_validate({"from": begun})
    named = {"reference": "reference", "reward": "reward_release", "teacher": "teacher"}
    held = {key: exact[relation] for relation, key in named.items() if relation in exact}
    if held:
        changed["objective"] = manifest.objective.model_copy(update=held)
    return manifest.model_copy(update=changed)


def with_base(
    manifest: Manifest, release: Release, bases: BaseStore, data_dir: Path | None
) -> Manifest:
    """The manifest with the place of a base that was a folder: known by its digest, or said.

    Raises:
        NotFound: it is neither.
    """
    model = manifest.base.model
    folder = isinstance(parse_base(model), FileSource) or model == release.base.model
    if not folder or model.startswith("hub:"):
        return manifest
    known = bases.find(release.base.digest)
    if known is not None and Path(known.model).is_dir():
        model = known.model
    elif data_dir is not None and place(model, data_dir).is_dir():
        model = str(place(model, data_dir))
    elif known is None and model not in {source.name for source in bases.sources()}:
        raise NotFound(
            f"`{release.name}` was built on a base in the folder `{model}`, and where that is on "
            "this machine is not known",
            hint=f"name the folder it is in with `--data-dir`, or the base: adapters base add "
            f"{release.base.model} FOLDER",
        )
    return manifest.model_copy(update={"base": manifest.base.model_copy(update={"model": model})})
