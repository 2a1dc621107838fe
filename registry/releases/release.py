"""The release record: what a release is, in canonical JSON; its digest is the release's name.

A record lists every file with digest, size and role, by path inside the release:

    adapter/…            the method's own adapter, as PEFT saved it (safetensors)
    servable/…           the form the engine loads (LoRA, prompt or prefix), if there is one
    full/…               in place of adapter/: a model of its own, as full fine-tuning writes it
    manifest.json        the resolved manifest
    adapter.lock         base revision and digest, data byte hashes, packages, code version, seed
    report.json          evaluation: metrics, intervals, gates
    predictions.jsonl    per-example outputs of base and adapter
    fingerprint.json     probe prompts and log-probabilities (builders/evaluation/fingerprint.py)
    training.jsonl       the build's event log
    provenance.json      in-toto statement of the build (SLSA provenance)
    sbom.cdx.json        what it was made of and ran with (CycloneDX)
    README.md, plots/…   the model card

Invariants:
- What was known when it was published is in the record; what happened afterwards (tags, exports,
  proofs, feedback, erasures) is in the append-only log (`index/log.py`).
- It says what bytes are, not where they are: bytes may be withheld or erased, and record, digest
  and signatures stay what they are (`absence.py`).
- No path of a machine, no login and no host name: `created_by` is a name that was given.

Version 2. Version 1 is read by `version1.py`; a value of `Release` may come from either.
"""

from __future__ import annotations

import functools
import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PrivateAttr, model_validator

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.registry.releases.forms import Form
from adapterworks.registry.releases.roles import matching, role_of

SERVABLE = "servable"
ADAPTER = "adapter"
FULL = "full"
SCHEMA_VERSION: Final = 2
UNNAMED = "unnamed"

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Frozen):
    """One file: its blob's digest, its size in bytes, and what it is for (`roles.py`)."""

    digest: str
    size: Annotated[int, Field(ge=0)]
    role: Word

    @classmethod
    def at(cls, path: str, *, digest: str, size: int) -> FileEntry:
        """The entry of the file at a path."""
        return cls(digest=digest, size=size, role=role_of(path))


class BaseIdentity(Frozen):
    """The base a release belongs to; `digest` covers weights, tokenizer, template, quantization."""

    model: str
    revision: str
    quantization: Literal["none", "nf4"]
    digest: str


class Servable(Frozen):
    """What the engine loads: `form` decides how, `origin` says how it came about.

    `error` is the relative Frobenius error of the converted weight delta (0.0 when exact).
    """

    form: Form
    origin: Literal["native", "exact", "approximate"]
    rank: int | None = None
    target_modules: tuple[str, ...] = ()
    virtual_tokens: int | None = None
    error: float = 0.0


class Parent(Frozen):
    """A release that this one was made from.

    Attributes:
        relation: `start` (trained on from it), `stage` (the stage before, in one build), `merge`,
            `rebase` (the same manifest on another base), `weights` (its weights, with what follows
            the training done again), `copy` (another name for it), `reference`,
            `teacher`, `reward`, `dataset`; `parent` in records of version 1.
        digest: of the release; only records of version 1 may lack it.
        ref: `name@version` where it was found; it may mean nothing elsewhere.
        weight: its share, in a merge.
    """

    relation: Word
    digest: str | None = None
    ref: str | None = None
    weight: FiniteFloat | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.digest is None and self.ref is None:
            raise ValueError("a parent needs a digest")
        return self

    @property
    def name(self) -> str:
        """The digest, or what an old record says instead."""
        return self.digest or self.ref or ""


def parent_of(relation: str, name: str) -> Parent:
    """The parent that a `Parent.name` names."""
    digest = name if name.startswith("sha256:") else None
    return Parent(relation=relation, digest=digest, ref=None if digest else name)


class Stage(Frozen):
    """One objective in a manifest's chain, a release of its own; the one before is a parent."""

    name: Word
    index: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=1)]


class Provenance(Frozen):
    """How and from what a release was made; nothing here tells a machine or a person.

    Attributes:
        made: `built`, `merged`, `imported`, `rebased`, `exported`, `copied`, ….
        version: of adapterworks.
        code: digest of the code that determines the weights.
        packages: digest of the table of packages in `adapter.lock`.
        python: of the interpreter.
        device: its class, such as `cpu` or `cuda`.
        precision: that was computed in.
        objective: that was trained for, such as `sft`.
        seed: of the training.
        data: digest of each split's rows.
        source: where it was taken from (`hub:org/name@commit`, the name of a folder), if it was.
        revision: that the source was at.
    """

    made: Word = "built"
    version: str | None = None
    code: str | None = None
    packages: str | None = None
    python: str | None = None
    device: str | None = None
    precision: str | None = None
    objective: str | None = None
    seed: int | None = None
    data: dict[str, str] = Field(default_factory=dict)
    source: str | None = None
    revision: str | None = None


class Draft(Frozen):
    """Everything a publisher says about a release; its files are added by publishing.

    `created` is RFC 3339 in UTC and part of the record: the same build drafts the same value again
    when it resumes, so that publishing twice gives one release.

    Attributes:
        artifact: what kind of thing it is a record of; others get a reader of their own.
        created_by: a name that was given; if it is empty, publishing puts in the registry's author.
        plan: digest of the whole plan.
        digests: stage of the build (`train`, `evaluate`, `publish`, …) → digest of what determined
            it; equal means that it need not be done again (`builders/plan/digests.py`).
        withhold: patterns of files whose bytes never leave the registry that publishes it. A push
            keeps what tells of rows besides, unless it is asked for.
        details: facts of one kind of release under the kind's name (`{"merge": {…}}`).
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    artifact: Literal["adapter"] = "adapter"
    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    method: str
    description: str = ""
    license: str = "other"
    tags: tuple[str, ...] = ()
    created: str
    created_by: str = ""
    base: BaseIdentity
    servable: Servable | None
    manifest: dict[str, Any] | None = None
    plan: str | None = None
    digests: dict[Word, str] = Field(default_factory=dict)
    stage: Stage | None = None
    parents: tuple[Parent, ...] = ()
    provenance: Provenance = Provenance()
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    withhold: tuple[str, ...] | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Release(Draft):
    """The immutable result of a build or an import: a draft with its files."""

    files: dict[str, FileEntry]

    # The bytes it was read from; a value that was not read has none and writes its own.
    _record: bytes = PrivateAttr(default=b"")

    @classmethod
    def from_draft(cls, draft: Draft, files: dict[str, FileEntry]) -> Release:
        """The release of `draft` with `files`."""
        return cls(**{name: getattr(draft, name) for name in Draft.model_fields}, files=files)

    def to_draft(self, **changes: Any) -> Draft:
        """A draft that says the same, but for `changes`: the beginning of another release."""
        return Draft(**{name: getattr(self, name) for name in Draft.model_fields} | changes)

    def read_from(self, record: bytes) -> Release:
        """The same value, knowing the bytes it was read from (`record.py`)."""
        self._record = record
        self.__dict__.pop("digest", None)
        return self

    def to_bytes(self) -> bytes:
        """The record's bytes: those that were read, else canonical JSON."""
        return self._record or canonical_json(self.model_dump(mode="json"))

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, in the words of the version that wrote it."""
        table: dict[str, Any] = json.loads(self.to_bytes())
        return table

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` of the record; reckoned once, as each request asks for it."""
        return digest_bytes(self.to_bytes())

    @property
    def size(self) -> int:
        """Bytes of all files, wherever they are."""
        return sum(entry.size for entry in self.files.values())

    @property
    def whole_model(self) -> bool:
        """Whether it holds a model of its own, in place of an adapter of its base."""
        return any(path.startswith(f"{FULL}/") for path in self.files)

    @property
    def trained(self) -> str:
        """The role of what was trained."""
        return FULL if self.whole_model else ADAPTER

    def declared(self, table: str) -> dict[str, Any]:
        """A table of its manifest; empty if it has none, or a stranger's has something else."""
        found = (self.manifest or {}).get(table)
        return found if isinstance(found, dict) else {}

    @property
    def withheld(self) -> set[str]:
        """The paths whose bytes its own policy keeps where it was published."""
        return matching(self.withhold or (), self.files)
