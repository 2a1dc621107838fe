"""The release record: what a release is, in canonical JSON; its digest is the release's name.

A record lists every file with digest and size, by path inside the release:

    adapter/…            the method's own adapter, as PEFT saved it (safetensors)
    servable/…           the form the engine loads (LoRA, prompt or prefix), if there is one
    full/…               in place of adapter/: a model of its own, as full fine-tuning writes it
    manifest.json        the resolved manifest
    adapter.lock         base revision and digest, data byte hashes, packages, code version, seed
    report.json          evaluation: metrics, intervals, gates
    predictions.jsonl    per-example outputs of base and adapter
    fingerprint.json     probe prompts and log-probabilities (builders/evaluation/fingerprint.py)
    training.jsonl       the build's event log
    README.md, plots/…   the model card
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.registry.releases.forms import Form

SERVABLE = "servable"
ADAPTER = "adapter"
FULL = "full"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Frozen):
    """One file: its blob's digest and its size in bytes."""

    digest: str
    size: int


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


class Draft(Frozen):
    """Everything a publisher says about a release; its files are added by publishing.

    `created` is RFC 3339 in UTC and part of the record: the same build drafts the same value again
    when it resumes, so that publishing twice gives one release.
    """

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


class Release(Draft):
    """The immutable result of a build or an import: a draft with its files."""

    files: dict[str, FileEntry]

    @classmethod
    def from_draft(cls, draft: Draft, files: dict[str, FileEntry]) -> Release:
        """The release of `draft` with `files`."""
        return cls(**{name: getattr(draft, name) for name in Draft.model_fields}, files=files)

    def to_bytes(self) -> bytes:
        """The record's canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """`sha256:…` of the record."""
        return digest_bytes(self.to_bytes())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    @property
    def whole_model(self) -> bool:
        """Whether it holds a model of its own, in place of an adapter of its base."""
        return any(path.startswith(f"{FULL}/") for path in self.files)

    @property
    def trained(self) -> str:
        """The role of what was trained."""
        return FULL if self.whole_model else ADAPTER
