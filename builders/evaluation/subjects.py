"""Releases and their base as subjects of an evaluation: from a ref to what is asked.

Invariant: a release is evaluated on its own base with exactly the values it was trained on; if that
base cannot be had, it is not evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.engines.engine import Adapter, Model
from adapterworks.builders.engines.session import Subject
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.errors import IntegrityError, InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import manifest_of_release
from adapterworks.registry.bases.template import template_of_record
from adapterworks.registry.releases.release import SERVABLE, Servable

if TYPE_CHECKING:
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release


@dataclass(frozen=True)
class Released:
    """A release and its base: what is asked of each."""

    name: str
    release: Release
    subject: Subject
    base: Subject

    @property
    def manifest(self) -> Manifest:
        """The manifest it was built from.

        Raises:
            InvalidInput: it was imported or merged and has none, or names what is not installed.
            Refused: it names code in a file, which no release can bring to be run.
        """
        if self.release.manifest is None:
            raise InvalidInput(
                f"`{self.name}` was not built from a manifest and carries none",
                hint="name one with `--manifest`: its `[data]` and `[evaluate]` are used",
            )
        return manifest_of_release(self.release.manifest, self.name)


def find_subject(registry: Registry, bases: BaseStore, ref: str) -> Released:
    """The release behind a ref, as what is served: an approximate form stands for its method.

    Raises:
        NotFound: no such release, or its base is not known here.
        IntegrityError: the base that can be had is not the one it was built on.
    """
    resolved = registry.resolve(ref)
    release = registry.release(resolved.digest)
    base = Subject(base_model(base_of(bases, release)))
    servable = release.servable
    served = registry.checkout(resolved.digest, SERVABLE) if servable is not None else None
    if served is None and release.whole_model:
        folder = registry.checkout(resolved.digest, release.trained)
        subject = Subject(Model(resolved.digest, str(resolved), folder, trained=True))
        return Released(str(resolved), release, subject, base)
    if served is not None and approximate(servable):
        folder = served
    else:
        folder = registry.checkout(resolved.digest, release.trained)
    adapter = Adapter(
        resolved.digest,
        folder,
        servable,
        served,
        resolved.digest,
        release.name,
        contents_digest(folder, served),
    )
    return Released(str(resolved), release, Subject(base.model, adapter), base)


def base_model(base: Base) -> Model:
    """A base as engines are told of it: its dense values."""
    return Model(base.digest, base.name, base.served)


def approximate(servable: Servable | None) -> bool:
    """Whether what is served differs from what the method trained."""
    return servable is not None and servable.origin == "approximate"


def folder_digest(folder: Path) -> str:
    """Names what was trained before it is published: the digest of its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def contents_digest(folder: Path, served: Path | None) -> str:
    """What an adapter answers by, before and after it is published: `Adapter.contents`."""
    parts = [folder] if served is None else [folder, served]
    return digest_json([folder_digest(part) for part in parts])


def base_of(bases: BaseStore, release: Release) -> Base:
    """The base a release was built on, prepared if need be.

    Raises:
        NotFound: it is not known here.
        IntegrityError: what is known under its name is another one.
    """
    known = bases.find(release.base.digest)
    if known is not None:
        return known
    table = release.declared("base")
    base = bases.ensure(
        release.base.model,
        quantization=release.base.quantization,
        double_quantization=table.get("double_quantization", True),
        template=template_of_record(table),
    )
    if base.digest != release.base.digest:
        raise IntegrityError(
            f"`{release.name}` was built on base {release.base.digest}, "
            f"but `{release.base.model}` here is {base.digest}",
            hint="fetch the base at the revision that `adapters show` prints",
        )
    return base
