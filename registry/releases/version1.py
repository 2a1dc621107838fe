"""Records of schema version 1, as they were written until 2026-11: read for ever, never written.

Invariant: reading changes no byte. `Release.to_bytes` of a record that was read gives the bytes
that were read, so a version 1 release keeps its digest and its signatures.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.registry.releases.release import (
    BaseIdentity,
    FileEntry,
    Frozen,
    Provenance,
    Release,
    Servable,
    parent_of,
)


class Entry1(Frozen):
    """One file: its blob's digest and its size in bytes."""

    digest: str
    size: int


class Record1(Frozen):
    """The record, field for field."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    method: str
    description: str = ""
    license: str = "other"
    tags: tuple[str, ...] = ()
    created: str
    created_by: str
    base: BaseIdentity
    servable: Servable | None
    manifest: dict[str, Any] | None = None
    plan: str | None = None
    parent: str | None = None
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    source: str | None = None
    files: dict[str, Entry1]

    def to_release(self) -> Release:
        """The same facts in the words of today's record."""
        # Version 1 did not say how a release came about; a build had a manifest, a merge a plan.
        made = "built" if self.manifest else "merged" if self.plan else "imported"
        train = (self.manifest or {}).get("train")
        seed = train.get("seed") if isinstance(train, dict) else None
        return Release(
            name=self.name,
            method=self.method,
            description=self.description,
            license=self.license,
            tags=self.tags,
            created=self.created,
            created_by=self.created_by,
            base=self.base,
            servable=self.servable,
            manifest=self.manifest,
            plan=self.plan,
            parents=() if self.parent is None else (parent_of("parent", self.parent),),
            provenance=Provenance(
                made=made, source=self.source, seed=seed if isinstance(seed, int) else None
            ),
            metrics=self.metrics,
            files={
                path: FileEntry.at(path, digest=entry.digest, size=entry.size)
                for path, entry in self.files.items()
            },
        )
