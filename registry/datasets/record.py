"""The dataset's record: what its rows are and where they came from, in canonical JSON.

Invariants:
- The digest of the record names the dataset; it covers the bytes of every split.
- Nothing in it changes: rows that are taken out, added or divided anew are another version, which
  names the one that it came from.
"""

from __future__ import annotations

import functools
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.registry.releases.release import Frozen, Parent

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
# Whose adapters may be trained on a tenant's rows: nobody's, its own, everybody's who says so too.
Share = Literal["none", "own", "all"]
Text = Annotated[str, Field(max_length=4096)]


class Part(Frozen):
    """One split.

    Attributes:
        digest: of the blob: one row a line, in canonical JSON.
        size: of the blob, in bytes.
        rows: how many there are.
        content: digest of the rows' own digests, as plans and locks have it.
    """

    digest: str
    size: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1)]
    content: str


class DatasetRecord(Frozen):
    """What a dataset is.

    Attributes:
        created: RFC 3339 in UTC.
        created_by: a name that was given.
        splits: the rows by what they are for.
        source: where they came from, in words.
        consent: on what grounds they may be used, in words.
        synthetic_from: the model that wrote them, if one did.
        reviewed_by: who has read them.
        tenant: whose they are; None for the operator's own.
        share: whose adapters may be trained on a tenant's rows.
        parents: the datasets (`version`, `split`, `erasure`) and releases (`failures`) that they
            were made from.
    """

    schema_version: Literal[1] = 1
    artifact: Literal["dataset"] = "dataset"
    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    description: Text = ""
    license: Text = "unknown"
    created: str
    created_by: str
    splits: dict[Split, Part]
    source: Text = ""
    consent: Text = ""
    synthetic_from: Text | None = None
    reviewed_by: tuple[Text, ...] = ()
    tenant: Text | None = None
    share: Share = "own"
    parents: tuple[Parent, ...] = ()

    @field_validator("splits")
    @classmethod
    def _in_order(cls, splits: dict[Split, Part]) -> dict[Split, Part]:
        return {split: splits[split] for split in SPLITS if split in splits}

    def to_bytes(self) -> bytes:
        """The record's bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` of the record."""
        return digest_bytes(self.to_bytes())

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(part.rows for part in self.splits.values())

    def says_the_same(self, other: DatasetRecord) -> bool:
        """Whether two records differ in nothing but who made them and when."""
        aside = {"created": "", "created_by": ""}
        return self.model_copy(update=aside) == other.model_copy(update=aside)
