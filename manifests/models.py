"""The manifest's frozen models: the vocabulary of what can be declared.

Every model refuses unknown keys and wrong types (strict); values are immutable and finite. Loading
from TOML, profiles and line numbers live in `manifests/load.py`; combinations that are individually
valid but jointly impossible are refused by `manifests/checks.py`. `[method]` is the table of the
method it names (`manifests/method.py`). The docstring under a field is its description in the JSON
Schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PrivateAttr

from adapterworks.manifests.data_gates import DataGate as DataGate
from adapterworks.manifests.data_gates import DataGates as DataGates
from adapterworks.manifests.data_gates import standard_gates
from adapterworks.manifests.method import Method
from adapterworks.manifests.named import Named
from adapterworks.manifests.objective import ObjectiveSetting, ObjectiveTable
from adapterworks.manifests.refs import NAME_PATTERN
from adapterworks.manifests.values import Frozen, PositiveFloat, PositiveInt, Rank, Share


class AdapterTable(Frozen):
    """`[adapter]`: who it is."""

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    """The adapter's name: lower-case letters, digits, `-`, `_` and `.`, at most 64."""
    description: str = ""
    """One line for people: what it is for."""
    license: str = "other"
    """The licence of the adapter, as the Hub spells it (`apache-2.0`)."""
    tags: tuple[str, ...] = ()
    """Words to search by."""
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
    """How the base's weights are held while training; `nf4` is 4-bit NormalFloat."""
    double_quantization: bool = True
    """With `nf4`: quantize the quantization constants too (Dettmers et al. 2023)."""
    chat_template: str | None = None
    """A chat template in place of the base's own, or for one that has none: `alpaca`, `chatml`,
    `llama-3`, `vicuna`, `zephyr`, or a `.jinja` file (relative to the manifest). It is part of the
    base's digest: the adapter is served under it."""
    template_arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Arguments of the template (`{ enable_thinking = false }`), in training and where it is
    served; a request's own have precedence."""


Format = Annotated[str, Named("formats")]


class MixTable(Frozen):
    """`[[data.mix]]`: one further source of training rows."""

    source: str
    """A recipe, a file or a Hub data set, as in `data.train`."""
    weight: PositiveFloat = 1.0
    """How often each of its rows is taken: 0.5 keeps half of them, 2 takes each twice."""
    format: Format | None = None
    """Its format, if other than `data.format`."""
    columns: dict[str, str] | None = None
    """Other column names of this source; those of `data.columns` if it has no format of its own."""
    limit: PositiveInt | None = None
    """Use at most this many of its rows, before they are weighted."""


class ReplayTable(Frozen):
    """`[data.replay]`: rows mixed in against forgetting."""

    source: str
    """General rows: a recipe, a file, a dataset or a Hub data set, as in `data.train`. Or
    `"lineage"`: what every release that `[start]` goes back to was trained on."""
    share: Share = 0.05
    """Replayed rows as a share of the training rows."""
    format: Format | None = None
    """Its format, if other than `data.format`."""
    columns: dict[str, str] | None = None
    """Other column names of this source; those of `data.columns` if it has no format of its own."""


class AugmentTable(Frozen):
    """`[data.augment]`: deterministic augmentation of training rows."""

    paraphrase_templates: tuple[str, ...] = ()
    """Ways to put the question, each with `{prompt}` in it."""
    lexicon: str | None = None
    """A `.json` or `.csv` file of synonyms, one group of words a row (relative to the manifest)."""
    share: Share = 0.0
    """Augmented copies as a share of the training rows."""


class DataTable(Frozen):
    """`[data]`: where the rows come from and how a row becomes a conversation.

    A source is a built-in recipe (`icd-10-cm:train`), a `.jsonl`, `.json`, `.csv` or `.tsv` file
    (also `.gz` and `.zst`), a `.parquet`, `.arrow` or `.xlsx` file, a folder (`rows/`) or pattern
    (`rows/*.jsonl`) of such, relative to the manifest, `hub:org/dataset@revision#split`, with a
    configuration `hub:org/dataset@revision#configuration:split`, or a dataset of the registry,
    `dataset:medical-failures@3`, with `#test` where another split than the key's is meant.
    """

    train: str
    """The training rows."""
    validation: str | None = None
    """The validation rows; if not given, `validation_share` of the training rows is held out."""
    test: str | None = None
    """The test rows: what base and adapter are compared on."""
    test_share: Share = 0.0
    """Share of the training rows held out as test rows when `test` is not given. A row is on one
    side by its content, so that new rows move no old one."""
    format: Format = "messages"
    """How a row of the source is to be read."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    columns: dict[str, str] = {}  # noqa: RUF012 – pydantic copies it
    """Other column names: the format's name → the source's name."""
    ignore: tuple[str, ...] = ()
    """Columns, and keys of turns, that may be passed over: what could change a row's meaning and is
    not read is a fault otherwise."""
    tenants: tuple[str, ...] = ()
    """The other tenants whose shared datasets it may be trained on."""
    limit: PositiveInt | None = None
    """Use at most this many training rows."""
    limit_validation: PositiveInt | None = None
    """Use at most this many validation rows."""
    limit_test: PositiveInt | None = None
    """Use at most this many test rows."""
    validation_share: Share = 0.05
    """Share of the training rows held out when `validation` is not given."""
    mix: tuple[MixTable, ...] = ()
    replay: ReplayTable | None = None
    augment: AugmentTable = AugmentTable()
    gates: DataGates = Field(default_factory=standard_gates)

    @property
    def has_test(self) -> bool:
        """Whether there are test rows: of a source, or held out."""
        return self.test is not None or self.test_share > 0


SAVE_PATTERN = r"^[1-9][0-9]{0,6} (steps|minutes)$"


class TrainTable(Frozen):
    """`[train]`: how it is trained."""

    epochs: PositiveFloat = 3.0
    """Passes over the training rows."""
    max_steps: PositiveInt | None = None
    """Stop after this many optimizer steps at the latest."""
    learning_rate: PositiveFloat | None = None
    """Peak learning rate; the method's own default if not given."""
    batch_size: PositiveInt = 8
    """Effective batch size in rows; accumulation follows from what fits."""
    micro_batch_size: PositiveInt | None = None
    """Rows of one forward pass; divides `batch_size`; chosen from memory if not given."""
    max_length: Annotated[int, Field(ge=16, le=2**20)] = 1024
    """Longest row in tokens."""
    on_overflow: Literal["cut", "drop", "fail"] = "cut"
    """Rows that do not fit into `max_length`: shorten them (the question behind the system turn
    first, then the answer; gates count them), leave them out, or refuse the build."""
    loss_on: Literal["completion", "last", "all"] = "completion"
    """The tokens that are learnt: the answers only, a conversation's last answer only, or
    everything (always so for `text` rows)."""
    warmup_ratio: Share = 0.03
    """Share of the steps in which the learning rate rises."""
    schedule: Annotated[str, Named("schedules")] = "cosine"
    """The learning rate's course after warm-up (see `adapters schedules`)."""
    learning_rate_floor: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Where it ends, as a share of the peak."""
    decay_ratio: Share = 0.2
    """`wsd` only: share of the steps after warm-up in which it falls."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled weight decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    optimizer: Annotated[str, Named("optimizers")] = "adamw"
    """The optimizer (see `adapters optimizers`); the paged 8-bit one needs a GPU."""
    neftune_alpha: PositiveFloat | None = None
    """NEFTune: uniform noise on the embeddings while training, of size α/√(length × width); 5 to 15
    is usual. None if not given."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """This share of every label is spread evenly over the vocabulary (`sft` only)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic while training; `auto` takes the best the device has."""
    gradient_checkpointing: bool = False
    """Recompute activations: less memory, about a third more time."""
    packing: bool = False
    """Several rows in one sequence, without attention between them."""
    group_by_length: bool = Field(default_factory=lambda earlier: not earlier.get("packing"))
    """Batches of rows of like length, so that little padding is computed; on unless `packing`."""
    share_prefix: bool = True
    """Compute the tokens that all rows of a micro batch begin with (system prompt, template) once
    instead of once a row; the loss is the same. Not with `packing` or dropout."""
    evaluations: PositiveInt = 4
    """Evaluations on the validation rows during the training."""
    save_every: Annotated[str, Field(pattern=SAVE_PATTERN)] = "30 minutes"
    """How much a killed training loses at most, in `steps` or `minutes` (`"200 steps"`); each
    evaluation is followed by a checkpoint anyway."""
    early_stopping: PositiveInt | None = None
    """Stop after this many evaluations without improvement."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Seed of everything random."""
    trackers: tuple[Annotated[str, Named("trackers")], ...] = ()
    """Experiment trackers that are told the metrics too (see `adapters trackers`); the package of
    each is to be installed. TensorBoard's files are in the build's folder, under `trackers/`."""
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes that share each batch, one a GPU; what they train is what one would, in another
    order of addition (also `adapters build --processes N`)."""
    accelerate_config: str | None = None
    """An `accelerate` configuration to launch with, for several GPUs or machines with data
    parallelism (relative to the manifest). Sharded ones (FSDP, DeepSpeed) are refused."""


class QualityGate(Frozen):
    """`[[evaluate.gates]]`: the alias moves only if the gain's lower bound is above `min_gain`."""

    kind: Annotated[str, Named("quality_gates")] = "gain"
    """How it judges (see `adapters gates`)."""
    metric: Annotated[str, Named("metrics", files=True)]
    """One of `evaluate.metrics`."""
    against: Literal["base", "prod", "start", "nearest"] = "base"
    """What the candidate is compared with on the same rows: the base, what `prod` names, the
    release that `[start]` continues, or the nearest training row (`evaluate.baseline`)."""
    min_gain: float = 0.0
    """The gain must be more than this, in the metric's own unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Confidence of the gain's interval."""


class RetentionTable(Frozen):
    """`[evaluate.retention]`: budget against forgetting on general text and suites."""

    on: bool = False
    """Measure retention."""
    suites: tuple[Annotated[str, Named("retention_suites")], ...] = ("hellaswag", "truthfulqa")
    """General suites scored before and after (see `adapters suites`)."""
    limit: PositiveInt | None = None
    """Use at most this many paragraphs of general prose, and rows of each suite (`adapters compare`
    measures retention even where it is off, with this limit)."""
    max_perplexity_increase: PositiveFloat | None = None
    """Largest accepted relative increase of perplexity on general prose (0.1 = 10 %)."""
    max_suite_loss: Share | None = None
    """Largest accepted loss on a suite, in accuracy points (0–1)."""
    ancestors: bool = False
    """Ask the test rows of every release that `[start]` goes back to again, each judged by its own
    first metric: what the training has cost there is in the report and the card."""
    max_ancestor_loss: Share | None = None
    """Largest accepted loss on an ancestor's test rows, in points of its metric (0–1)."""


ENGINES = ("auto", "huggingface", "vllm", "gateway")


class EvaluateTable(Frozen):
    """`[evaluate]`: metrics, gates, retention."""

    metrics: tuple[Annotated[str, Named("metrics", files=True)], ...] = ("exact_match",)
    """Metrics by name (see `adapters metrics`), or `./FILE.py:FUNCTION` for one of your own, whose
    function takes an answer and a reference and gives a number (docs/reference/extensions.md)."""
    gates: tuple[QualityGate, ...] = ()
    retention: RetentionTable = RetentionTable()
    baseline: Literal["none", "nearest"] = "none"
    """What is compared beside the base without a model: `nearest` answers each test row as the
    training row with the most similar question was answered (tf-idf of characters, cosine)."""
    max_new_tokens: PositiveInt = 64
    """Longest generated answer in tokens."""
    batch_size: PositiveInt = 32
    """Rows generated together."""
    engine: Literal["auto", "huggingface", "vllm", "gateway"] = "auto"
    """Who answers: the model in Hugging Face's `generate`, a vLLM started for the build, or a
    running gateway (`ADAPTERS_GATEWAY`); `auto` takes the one that is likely to be done first."""
    bootstrap_samples: PositiveInt = 2000
    """Resamples behind each confidence interval."""


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
    """`[serve]`: how it wants to be served."""

    pinned: bool = False
    """Keep it resident: never unloaded to make room."""
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
