"""The manifest's frozen models: the vocabulary of what can be declared.

Every model refuses unknown keys and wrong types (strict); values are immutable and finite. Loading
from TOML, profiles and line numbers live in `manifests/load.py`; combinations that are individually
valid but jointly impossible are refused by `manifests/checks/`. Here are the manifest and its
shorter tables; `[data]`, `[train]` and `[evaluate]` have files of their own, and `[method]` is the
table of the method it names (`manifests/method.py`). The docstring under a field is its description
in the JSON Schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PrivateAttr

from adapterworks.manifests.data_gates import DataGate as DataGate
from adapterworks.manifests.data_gates import DataGates as DataGates
from adapterworks.manifests.data_tables import DataTable
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.method import Method
from adapterworks.manifests.objective import ObjectiveSetting, ObjectiveTable
from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.manifests.resources_table import ResourcesTable
from adapterworks.manifests.train_table import TrainTable
from adapterworks.manifests.values import Frozen, PositiveFloat, Rank


class AdapterTable(Frozen):
    """`[adapter]`: name and description."""

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    """The adapter's name: lower-case letters, digits, `-`, `_` and `.`, at most 64."""
    description: str = ""
    """A one-line description of its purpose."""
    license: str = "other"
    """The licence of the adapter, as the Hub spells it (`apache-2.0`)."""
    tags: tuple[str, ...] = ()
    """Tags for searching."""
    language: tuple[str, ...] = ("en",)
    """ISO 639-1 codes of the languages the rows are expected in."""
    tenant: str | None = None
    """The tenant whose adapter it is; the operator's own, which serves everybody, if not given.
    Only a tenant's own adapters are trained on rows that it does not share."""


class BaseTable(Frozen):
    """`[base]`: the base model it is trained on and served with."""

    model: str
    """A name known to `adapters base list`, `hub:org/name@revision`, or a path."""
    quantization: Literal["none", "nf4"] = "none"
    """Quantization of the base's weights; `nf4` is 4-bit NormalFloat."""
    double_quantization: bool = True
    """With `nf4`: quantize the quantization constants too (Dettmers et al. 2023)."""
    chat_template: str | None = None
    """A chat template in place of the base's own, or for one that has none: `alpaca`, `chatml`,
    `llama-3`, `vicuna`, `zephyr`, or a `.jinja` file (relative to the manifest). It is part of the
    base's digest: the adapter is served under it, and every engine stops at what closes its
    answers."""
    template_arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Arguments of the template (`{ enable_thinking = false }`), in training and where it is
    served; a request's own have precedence."""


class PublishTable(Frozen):
    """`[publish]`: what happens to a finished build."""

    alias: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] | None = "candidate"
    """The alias that a build moves when all its gates pass."""
    hub: str | None = None
    """The Hub repository that `adapters push` pushes it to, `org/name`."""
    private: bool = True
    """Whether that repository is meant to be private. `false` makes nothing public by itself: each
    push is private unless it says `--public`."""
    withhold: tuple[str, ...] | None = None
    """Files of the release whose bytes never leave this registry, as patterns
    (`["report.json", "plots/*"]`), beside those that `include` is about."""
    include: tuple[str, ...] = ()
    """Files that a push takes along although they tell of rows or of local files, as patterns: else
    `predictions.jsonl`, `fingerprint.json` with probes from rows, and `adapter.lock` of a build
    from local files stay here, and the record keeps their digests."""


class ServeTable(Frozen):
    """`[serve]`: how the adapter is served."""

    pinned: bool = False
    """Keep the adapter loaded; it is never unloaded to make room."""
    conversion_rank: Rank | None = None
    """Rank of the served LoRA when it has to be extracted from a weight delta."""
    max_conversion_error: PositiveFloat = 0.35
    """Largest accepted relative error of the served weight delta (Frobenius norm)."""


class StartTable(Frozen):
    """`[start]`: the release whose training is continued, with its method on its base."""

    model_config = ConfigDict(serialize_by_alias=True)

    ref: str = Field(alias="from")
    """The release to begin with (`medical`, `medical@7`); a new adapter without this table."""


@dataclass(frozen=True, slots=True)
class StageOf:
    """Which of several stages a manifest is: name, number from 0, and how many there are."""

    name: str
    index: int
    count: int


class Manifest(Frozen):
    """One adapter's declaration, resolved: profile and overrides are already applied.

    Its values are what was declared: a relative path stays relative. The folder that such paths
    are taken from goes with the manifest but is no part of it: it is not written, not digested, and
    two manifests that differ in it alone are equal (see `manifests/paths.py`).
    """

    adapter: AdapterTable
    base: BaseTable
    method: Method
    data: DataTable
    objective: ObjectiveSetting = ObjectiveTable(kind="sft")
    start: StartTable | None = None
    train: TrainTable = TrainTable()
    evaluate: EvaluateTable = EvaluateTable()
    publish: PublishTable = PublishTable()
    serve: ServeTable = ServeTable()
    resources: ResourcesTable = ResourcesTable()

    _folder: Path | None = PrivateAttr(default=None)
    _stage: StageOf | None = PrivateAttr(default=None)
    _before: Manifest | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where its relative paths begin; the working directory if it came from no file."""
        return self._folder or Path()

    @property
    def stage(self) -> StageOf | None:
        """Which of several stages it is, if it is one."""
        return self._stage

    @property
    def before(self) -> Manifest | None:
        """The stage that is built before it, and that it begins with."""
        return self._before

    @property
    def chain(self) -> tuple[Manifest, ...]:
        """All stages up to this one, the first one first; itself alone where there are none."""
        return (*(self._before.chain if self._before else ()), self)

    def as_stage(self, stage: StageOf, before: Manifest | None) -> Manifest:
        """The same manifest as a stage of several."""
        staged = self.model_copy()
        staged._stage, staged._before = stage, before
        return staged

    def placed_in(self, folder: Path) -> Manifest:
        """The same manifest with the folder that its relative paths are taken from."""
        placed = self.model_copy()
        placed._folder = folder
        return placed

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, wherever their files are."""
        if not isinstance(other, Manifest):
            return NotImplemented
        return self.__dict__ == other.__dict__
