"""The plan: what a build will do, computed before it does anything.

Invariant: `make_plan` is pure; equal inputs give equal plans. `Plan.digest` covers what determines
the result (manifest, base, rows, code, packages, device, precision), not what it is estimated to
cost, so an unchanged plan names an existing release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from builders.machine import Machine, Precision
from builders.memory import Load, Memory, predict_memory
from builders.methods import METHODS
from builders.methods.technique import Lint, ServableForm, Technique
from builders.plan_lints import training_lints
from builders.shape import BaseShape
from manifests.digests import digest_json
from manifests.errors import InvalidInput, Refused
from manifests.models import LoraMethod, Manifest, PromptMethod
from registry.release import BaseIdentity

_BYTES: dict[str, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
# Larger micro batches gain nothing on a CPU and cost memory; a GPU wants them.
_MICRO_TOKENS = {"cpu": 1024, "cuda": 16384}
# Part of the machine's memory a plan may fill.
_USABLE = 0.9


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The rows as the plan sees them: counts, lengths in tokens, digests.

    Attributes:
        rows: by split.
        digests: by split, of the rows in order.
        lengths: of every training sequence.
        supervised: tokens with a label, of every training sequence.
        shared: tokens that all training sequences begin with, ahead of any label.
        sources: datasheets as JSON.
    """

    rows: Mapping[str, int]
    digests: Mapping[str, str]
    lengths: tuple[int, ...]
    supervised: tuple[int, ...]
    shared: int = 0
    sources: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """The code and the packages a build runs with (see `builders/lock.py`)."""

    code: Mapping[str, str]
    packages: Mapping[str, str]
    python: str


class Plan(BaseModel):
    """The result of a manifest, a base, its rows and a machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    manifest: Manifest
    base: BaseIdentity
    rows: dict[str, int]
    data_digests: dict[str, str]
    code: dict[str, str]
    packages: dict[str, str]
    device: Literal["cpu", "cuda"]
    precision: Precision
    objective: Literal["instruction tuning", "continued pre-training"]
    steps: int
    steps_per_epoch: int
    warmup_steps: int
    evaluate_every: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    learning_rate_source: str
    tokens: int
    supervised_tokens: int
    longest: int
    shared_prefix: int = 0
    trainable: int
    parameters: int
    memory: dict[str, int]
    disk: int
    seconds: float | None = None
    servable: ServableForm
    lints: tuple[Lint, ...] = ()

    @property
    def digest(self) -> str:
        """`sha256:…` of what determines the result."""
        return digest_json(
            {
                "schema_version": self.schema_version,
                "manifest": self.manifest.model_dump(mode="json"),
                "base": self.base.digest,
                "data": self.data_digests,
                "code": self.code,
                "packages": self.packages,
                "device": self.device,
                "precision": self.precision,
            }
        )

    @property
    def trainable_share(self) -> float:
        """Trained parameters over the base's, 0 to 1 and above (P-tuning v2's MLP can be large)."""
        return self.trainable / self.parameters


def make_plan(
    manifest: Manifest,
    base: BaseIdentity,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    environment: Environment,
) -> Plan:
    """Compute the plan.

    Raises:
        InvalidInput: a combination this base, machine or engine cannot do.
        Refused: it cannot fit this machine, or could not be served.
    """
    technique = METHODS[manifest.method.kind]
    train = manifest.train
    precision = machine.precision if train.precision == "auto" else train.precision
    longest, supervised = max(data.lengths), max(data.supervised)
    _check(manifest, shape, machine, technique, precision, longest)
    per_epoch = -(-len(data.lengths) // train.batch_size)
    steps = max(1, round(per_epoch * train.epochs))
    if train.max_steps is not None:
        steps = min(steps, train.max_steps)
    trainable = technique.trainable(shape, manifest.method)
    technique.best_from(manifest.method, steps)  # refuses schedules that do not fit the steps
    shared = data.shared if _shares_prefix(manifest, technique) else 0
    micro, memory = _fit(
        manifest, shape, machine, longest, supervised, shared, trainable, precision
    )
    share = steps / per_epoch
    rate = train.learning_rate
    lints = technique.lints(shape, manifest.method) + training_lints(
        manifest, technique, rows=len(data.lengths), steps=steps, device=machine.device
    )
    return Plan(
        manifest=manifest,
        base=base,
        rows=dict(data.rows),
        data_digests=dict(data.digests),
        code=dict(environment.code),
        packages=dict(environment.packages),
        device=machine.device,
        precision=precision,
        objective=(
            "continued pre-training" if manifest.data.format == "text" else "instruction tuning"
        ),
        steps=steps,
        steps_per_epoch=per_epoch,
        warmup_steps=round(train.warmup_ratio * steps),
        evaluate_every=max(1, steps // train.evaluations),
        micro_batch=micro,
        accumulation=-(-train.batch_size // micro),
        learning_rate=technique.learning_rate.value if rate is None else rate,
        learning_rate_source=technique.learning_rate.source if rate is None else "manifest",
        tokens=round(sum(data.lengths) * share),
        supervised_tokens=round(sum(data.supervised) * share),
        longest=longest,
        shared_prefix=shared,
        trainable=trainable,
        parameters=shape.parameters,
        memory=memory.to_json(),
        disk=_disk(manifest, trainable, shape),
        servable=technique.servable(shape, manifest.method, manifest.serve),
        lints=tuple(lints),
    )


def _check(
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    technique: Technique[Any],
    precision: Precision,
    longest: int,
) -> None:
    """Refuse what is well-formed but impossible here, saying what would do."""
    train, method = manifest.train, manifest.method
    if machine.device == "cpu" and train.optimizer == "paged-adamw-8bit":
        raise InvalidInput(
            "`train.optimizer` `paged-adamw-8bit` needs a CUDA device",
            hint='use `optimizer = "adamw"` on this machine',
        )
    if machine.device == "cpu" and precision == "fp16":
        raise InvalidInput(
            "`train.precision` `fp16` needs a CUDA device", hint='use `precision = "auto"`'
        )
    if train.packing and technique.soft_prompt:
        raise InvalidInput(
            f"`train.packing` cannot be used with `{method.kind}`: "
            "only the first packed row would see the virtual tokens",
            hint="use `train.group_by_length`, which computes almost no padding either",
        )
    if train.gradient_checkpointing and not technique.gradient_checkpointing:
        raise InvalidInput(
            f"`train.gradient_checkpointing` cannot be used with `{method.kind}`: "
            "the prefix enters as a cache, which recomputation would fill twice",
            hint="lower `train.micro_batch_size` instead",
        )
    virtual = method.virtual_tokens if isinstance(method, PromptMethod) else 0
    if longest + virtual > shape.max_positions:
        raise InvalidInput(
            f"rows of {longest} tokens and {virtual} virtual tokens exceed the base's "
            f"{shape.max_positions} positions",
            hint=f"set `train.max_length` to {shape.max_positions - virtual} or less",
        )


def _shares_prefix(manifest: Manifest, technique: Technique[Any]) -> bool:
    """Whether `train.share_prefix` can be had: dropout would draw one mask for all rows, and
    virtual tokens are PEFT's to put in front."""
    dropout = getattr(manifest.method, "dropout", 0.0)
    train = manifest.train
    return train.share_prefix and not (train.packing or technique.soft_prompt or dropout)


def _fit(
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    longest: int,
    supervised: int,
    shared: int,
    trainable: int,
    precision: Precision,
) -> tuple[int, Memory]:
    """The micro batch (a divisor of the batch) and its memory.

    Raises:
        Refused: not even one row fits.
    """
    width, batch = _BYTES[precision], manifest.train.batch_size

    def at(rows: int, candidate: Manifest = manifest, bytes_: int = width) -> Memory:
        # Padded rows have labels in different columns; logits cover their union.
        columns = min(longest, supervised * (2 if rows > 1 and not shared else 1))
        load = Load(rows, longest, rows * columns, shared)
        return predict_memory(candidate, shape, load, trainable=trainable, width=bytes_)

    fixed = manifest.train.micro_batch_size
    limit = max(1, _MICRO_TOKENS[machine.device] // longest)
    divisors = [n for n in range(batch, 0, -1) if batch % n == 0]
    candidates = [fixed] if fixed else [n for n in divisors if n <= limit]
    room = int(machine.memory * _USABLE)
    for micro in candidates:
        if at(micro).total <= room:
            return micro, at(micro)
    smallest = at(candidates[-1])
    raise Refused(
        f"training needs {_gib(smallest.total)} at a micro batch of {candidates[-1]}, "
        f"and this machine has {_gib(machine.memory)} free",
        hint=_what_would_fit(manifest, shape, room, at) + _terms(smallest),
    )


def _what_would_fit(manifest: Manifest, shape: BaseShape, room: int, at: Any) -> str:
    """The first change of the manifest whose prediction fits."""
    train = manifest.train
    options: list[tuple[str, Manifest]] = []
    if not train.gradient_checkpointing and METHODS[manifest.method.kind].gradient_checkpointing:
        changed = train.model_copy(update={"gradient_checkpointing": True})
        options.append(
            (
                "`train.gradient_checkpointing = true`",
                manifest.model_copy(update={"train": changed}),
            )
        )
    if isinstance(manifest.method, LoraMethod) and manifest.method.kind == "lora":
        quantized = manifest.method.model_copy(update={"kind": "qlora"})
        options.append(
            ('`method.kind = "qlora"`', manifest.model_copy(update={"method": quantized}))
        )
    for text, candidate in options:
        needed = at(1, candidate).total
        if needed <= room:
            return f"{text} would fit with {_gib(needed)}; "
    if manifest.method.kind == "full":
        return "`method.kind` `lora` or `qlora` trains a few per cent of the parameters; "
    return "a smaller `train.max_length` or base would need less; "


def _terms(memory: Memory) -> str:
    parts = {k: v for k, v in memory.to_json().items() if k != "total"}
    return ", ".join(f"{name} {_gib(size)}" for name, size in parts.items())


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def _disk(manifest: Manifest, trainable: int, shape: BaseShape) -> int:
    """Bytes a build writes: two checkpoints with optimizer while one replaces the other, the best
    weights, and the release (a full fine-tuning keeps its weights and a LoRA of them)."""
    checkpoints = 2 * 12 * trainable + 2 * 4 * trainable
    release = 8 * trainable if manifest.method.kind != "full" else 5 * shape.parameters
    return checkpoints + release


def with_seconds(plan: Plan, tokens_per_second: float) -> Plan:
    """The plan with its time, from a measured speed in tokens (padding not counted)."""
    return plan.model_copy(update={"seconds": plan.tokens / tokens_per_second})


def for_kind(machine: Machine, device: Literal["cpu", "cuda"], memory: int) -> Machine:
    """The same machine with another device and memory, to plan for a big profile elsewhere."""
    return replace(
        machine, device=device, memory=memory, precision="bf16" if device == "cuda" else "fp32"
    )
