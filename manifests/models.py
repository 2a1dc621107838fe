"""The manifest's frozen models: the vocabulary of what can be declared.

Every model refuses unknown keys and wrong types (strict); values are immutable. Loading from TOML,
profiles and line numbers live in `manifests/load.py`; combinations that are individually valid but
jointly impossible are refused by `manifests/checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from manifests.refs import NAME_PATTERN

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Frozen(BaseModel):
    """Base of all manifest tables: immutable, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class AdapterTable(Frozen):
    """`[adapter]`: who it is."""

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    description: str = ""
    license: str = "other"
    tags: tuple[str, ...] = ()
    language: tuple[str, ...] = ("en",)


class BaseTable(Frozen):
    """`[base]`: the base model it is trained on and served with.

    `model` is a name known to `adapters base list`, `hub:org/name@revision`, or a path.
    """

    model: str
    quantization: Literal["none", "nf4"] = "none"
    double_quantization: bool = True


Targets = Literal["all-linear"] | tuple[str, ...]


class LoraMethod(Frozen):
    """Low-rank adaptation (Hu et al. 2021) and its quantized and weight-decomposed forms.

    `qlora` is LoRA on an NF4 base (Dettmers et al. 2023); `dora` is Liu et al. 2024; `rslora`
    scales by α/√r (Kalajdzievski 2023). `alpha` defaults to 2·rank.
    """

    kind: Literal["lora", "qlora", "dora"]
    rank: Annotated[int, Field(gt=0, le=512)] = 16
    alpha: PositiveInt | None = None
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: Targets = "all-linear"
    rslora: bool = False


class AdaloraMethod(Frozen):
    """AdaLoRA (Zhang et al. 2023): starts at `initial_rank`, prunes to `rank` on average."""

    kind: Literal["adalora"]
    rank: Annotated[int, Field(gt=0, le=512)] = 8
    initial_rank: Annotated[int, Field(gt=0, le=512)] = 12
    alpha: PositiveInt | None = None
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: Targets = "all-linear"
    warmup_share: Share = 0.2
    final_share: Share = 0.3
    interval: PositiveInt = 5
    orthogonality: Annotated[float, Field(ge=0.0)] = 0.5


class FullMethod(Frozen):
    """Full-parameter fine-tuning; served as LoRA extracted from the weight delta, or as a base."""

    kind: Literal["full"]


class PromptMethod(Frozen):
    """Soft prompts: `prompt-tuning` (Lester et al. 2021), `prefix-tuning` (Li & Liang 2021) and
    `p-tuning-v2` (Liu et al. 2022: deep prompts with a reparameterization MLP)."""

    kind: Literal["prompt-tuning", "prefix-tuning", "p-tuning-v2"]
    virtual_tokens: Annotated[int, Field(gt=0, le=1024)] = 20
    encoder_hidden_size: PositiveInt | None = None
    init_text: str | None = None


Method = Annotated[
    LoraMethod | AdaloraMethod | FullMethod | PromptMethod, Field(discriminator="kind")
]

Format = Literal["messages", "instruction", "prompt-completion", "preference", "text", "sharegpt"]


class MixTable(Frozen):
    """`[[data.mix]]`: one further source of training rows, up- or down-sampled by `weight`."""

    source: str
    weight: PositiveFloat = 1.0
    format: Format | None = None


class ReplayTable(Frozen):
    """`[data.replay]`: general rows mixed in against forgetting; `share` of the training rows."""

    source: str
    share: Share = 0.05
    format: Format | None = None


class AugmentTable(Frozen):
    """`[data.augment]`: deterministic augmentation of training rows."""

    paraphrase_templates: tuple[str, ...] = ()
    lexicon: str | None = None
    share: Share = 0.0


class DataGate(Frozen):
    """One data gate: `on = false` turns it off, `threshold` is the gate's own unit (see docs)."""

    on: bool = True
    threshold: float | None = None
    action: Literal["fail", "drop", "warn"] = "warn"


class DataGates(Frozen):
    """`[data.gates]`: the checks run on rows before training; each reports its offending rows."""

    exact_duplicates: DataGate = DataGate(action="drop")
    near_duplicates: DataGate = DataGate(threshold=0.9)
    contradictions: DataGate = DataGate()
    contamination: DataGate = DataGate(threshold=0.8)
    empty_supervision: DataGate = DataGate(action="fail")
    truncated_supervision: DataGate = DataGate()
    length_outliers: DataGate = DataGate(threshold=6.0)
    class_balance: DataGate = DataGate(threshold=0.5)
    language: DataGate = DataGate(threshold=0.02)
    personal_data: DataGate = DataGate()
    secrets: DataGate = DataGate(action="fail")


class DataTable(Frozen):
    """`[data]`: where the rows come from and how a row becomes a conversation.

    A source is a built-in recipe (`icd-10-cm:train`), a `.jsonl`, `.parquet` or `.csv` path
    (relative to the manifest), or `hub:org/dataset@revision#split`.
    """

    train: str
    validation: str | None = None
    test: str | None = None
    format: Format = "messages"
    system: str | None = None
    columns: dict[str, str] = {}
    limit: PositiveInt | None = None
    limit_validation: PositiveInt | None = None
    limit_test: PositiveInt | None = None
    validation_share: Share = 0.05
    mix: tuple[MixTable, ...] = ()
    replay: ReplayTable | None = None
    augment: AugmentTable = AugmentTable()
    gates: DataGates = DataGates()


class TrainTable(Frozen):
    """`[train]`: `batch_size` is effective; accumulation follows from what fits.

    `learning_rate` defaults by method (see `builders/methods`); `max_length` is in tokens;
    `early_stopping` is the number of evaluations without improvement before stopping.
    """

    epochs: PositiveFloat = 3.0
    max_steps: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    batch_size: PositiveInt = 8
    micro_batch_size: PositiveInt | None = None
    max_length: Annotated[int, Field(ge=16)] = 1024
    loss_on: Literal["completion", "all"] = "completion"
    warmup_ratio: Share = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: PositiveFloat = 1.0
    optimizer: Literal["adamw", "paged-adamw-8bit"] = "adamw"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    packing: bool = False
    group_by_length: bool = True
    evaluations: PositiveInt = 4
    early_stopping: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 42
    trackers: tuple[Literal["tensorboard", "trackio", "mlflow", "wandb"], ...] = ()
    accelerate_config: str | None = None


class QualityGate(Frozen):
    """`[[evaluate.gates]]`: the alias moves only if the gain's lower bound reaches `min_gain`."""

    metric: str
    against: Literal["base", "prod"] = "base"
    min_gain: float = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95


class RetentionTable(Frozen):
    """`[evaluate.retention]`: budget against forgetting on general text and suites.

    `max_perplexity_increase` is relative (0.1 = 10 %); `max_suite_loss` is in accuracy points (0–1).
    """

    on: bool = False
    suites: tuple[Literal["hellaswag", "truthfulqa", "gsm8k"], ...] = ("hellaswag", "truthfulqa")
    max_perplexity_increase: PositiveFloat | None = None
    max_suite_loss: Share | None = None


class EvaluateTable(Frozen):
    """`[evaluate]`: metrics by name (see `adapters metrics`), gates, retention."""

    metrics: tuple[str, ...] = ("exact_match",)
    gates: tuple[QualityGate, ...] = ()
    retention: RetentionTable = RetentionTable()
    max_new_tokens: PositiveInt = 64
    batch_size: PositiveInt = 32
    bootstrap_samples: PositiveInt = 2000


class PublishTable(Frozen):
    """`[publish]`: the alias a passing build moves, and the Hub repository it is pushed to."""

    alias: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] | None = "candidate"
    hub: str | None = None
    private: bool = True


class ServeTable(Frozen):
    """`[serve]`: how it wants to be served.

    `max_conversion_error` is the largest accepted relative error of the servable form's weight
    delta (Frobenius norm); `conversion_rank` overrides the rank chosen for SVD conversions.
    """

    pinned: bool = False
    conversion_rank: Annotated[int, Field(gt=0, le=512)] | None = None
    max_conversion_error: PositiveFloat = 0.35


class Manifest(Frozen):
    """One adapter's declaration, resolved: profile and overrides are already applied."""

    adapter: AdapterTable
    base: BaseTable
    method: Method
    data: DataTable
    train: TrainTable = TrainTable()
    evaluate: EvaluateTable = EvaluateTable()
    publish: PublishTable = PublishTable()
    serve: ServeTable = ServeTable()
