"""`[train]`: how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adapterworks.manifests.named import Named
from adapterworks.manifests.tracking_table import TrackingTable
from adapterworks.manifests.values import Frozen, PositiveFloat, PositiveInt, Share

SAVE_PATTERN = r"^[1-9][0-9]{0,6} (steps|minutes)$"


class AnchorTable(Frozen):
    """`[train.anchor]`: a penalty for moving away from the start, to prevent forgetting."""

    kind: Literal["ewc", "l2"]
    """Which numbers may move: with `l2` all the same, with `ewc` those that say little of what the
    continued release and those before it have learnt (Kirkpatrick et al. 2016): the Fisher
    information's diagonal on rows of theirs."""
    weight: PositiveFloat
    """λ. With `ewc` 1 weighs a nat a token that earlier rows would lose as a nat of the loss; with
    `l2` it is of the squared distance, which says nothing by itself."""
    rows: PositiveInt = 256
    """With `ewc`: how many of the earlier rows are looked at, each for itself."""


class TrainTable(Frozen):
    """`[train]`: how the adapter is trained."""

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
    """Share of the steps used for warm-up."""
    schedule: Annotated[str, Named("schedules")] = "cosine"
    """Learning-rate schedule after warm-up (see `adapters schedules`)."""
    learning_rate_floor: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Final learning rate, as a share of the peak."""
    decay_ratio: Share = 0.2
    """`wsd` only: share of the steps after warm-up used for decay."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled weight decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    optimizer: Annotated[str, Named("optimizers")] = "adamw"
    """The optimizer (see `adapters optimizers`); the paged 8-bit one needs a GPU."""
    neftune_alpha: PositiveFloat | None = None
    """NEFTune: uniform noise on the embeddings while training, of size α/√(length × width); 5 to 15
    is usual. None if not given."""
    quantization_aware: Literal["int4", "int8"] | None = None
    """Train against the rounding of an export: in every step the weights are rounded as GGUF's
    `q4_0` or `q8_0` rounds them (`lora` and `full`, without dropout). None if not given."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """This share of every label is spread evenly over the vocabulary (`sft` only)."""
    anchor: AnchorTable | None = None
    """A penalty on moving away from where the training begins; None if not given."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Training precision; `auto` picks the best that the device supports."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2", "flex_attention"] = "auto"
    """How attention is computed while training, by `transformers`' names; `auto` is `sdpa`, or
    `eager` where a base knows nothing else or caps its scores (Gemma 2). `flash_attention_2` (in
    half precision, with the package `flash-attn`) and `flex_attention` need a GPU, and keep no mask
    of packed rows; `eager` keeps every score. What a base or a machine cannot do is refused by the
    plan. Prefixes are shared under `sdpa` alone."""
    deterministic: bool = False
    """Take kernels that add in one order alone, so that the same plan on the same card and packages
    gives the same bits again; slower on a GPU, where without it the last bits differ from the first
    step on. An operation that has no such kernel ends the training by its name. A CPU's do anyway.
    What was so is in the report (`training.deterministic`)."""
    gradient_checkpointing: bool = False
    """Recompute activations: less memory, about a third more time."""
    packing: bool = False
    """Several rows in one sequence, without attention between them."""
    packing_strategy: Literal["micro_batch", "bfd"] = "micro_batch"
    """With `packing`, which rows go together: `micro_batch` takes those of a micro batch, and
    `batch_size` counts rows; `bfd` (best-fit decreasing, as in TRL) those that fill `max_length`
    tokens best, once before the training, and `batch_size` counts such sequences. No row is cut."""
    group_by_length: bool = Field(default_factory=lambda earlier: not earlier.get("packing"))
    """Batches of rows of like length, so that little padding is computed; on unless `packing`."""
    share_prefix: bool = True
    """Compute the tokens that all rows of a micro batch begin with (system prompt, template; of
    answers that `grpo` and `rloo` sample, the prompt) once instead of once a row; the loss is the
    same. Not with `packing` or dropout."""
    evaluations: PositiveInt = 4
    """Evaluations on the validation rows during the training, at most; the last one is at its
    end."""
    save_every: Annotated[str, Field(pattern=SAVE_PATTERN)] = "30 minutes"
    """How much a killed training loses at most, in `steps` or `minutes` (`"200 steps"`); each
    evaluation is followed by a checkpoint anyway, and so is the step at which a training is
    interrupted by Ctrl-C or SIGTERM."""
    early_stopping: PositiveInt | None = None
    """Stop after this many evaluations without improvement."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Random seed."""
    trackers: tuple[Annotated[str, Named("trackers")], ...] = ()
    """Experiment trackers that also receive the metrics (see `adapters trackers`); each needs its
    package installed. TensorBoard's files are in the build's folder, under `trackers/`."""
    tracking: tuple[TrackingTable, ...] = ()
    """Trackers whose project and run have names of their own."""
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes that share each batch, one a GPU; what they train is what one would, in another
    order of addition (also `adapters build --processes N`)."""
    sharding: Literal["none", "zero-2", "fsdp"] = "none"
    """What processes hold in parts, for a model that does not fit one card: `fsdp` weights,
    gradients and optimizer state (what ZeRO calls stage 3), `zero-2` gradients and optimizer state,
    `none` nothing. `lora` and `full` with AdamW in fp32 or bf16; what is trained and written is the
    same, and can be gone on with in any other number of processes. Alone, a process holds all."""
    accelerate_config: str | None = None
    """An `accelerate` configuration to launch with, for several GPUs with data parallelism
    (relative to the manifest), in as many processes as `processes` says. Ones of several machines
    are refused, ones that compile (`dynamo_config`), and sharded ones (FSDP, DeepSpeed): `sharding`
    says it here."""
