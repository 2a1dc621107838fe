"""What several programs share: Hugging Face's `TrainingArguments`, and how bases are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.conversion import Draft, Idle, Not, Rule, To, positive, real

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant",
              "constant_with_warmup": "constant"}  # fmt: skip
_ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw", "adamw_apex_fused")
_IN_8_BITS = {
    "paged_adamw_32bit": "paged-adamw-8bit",
    "adamw_torch_8bit": "adamw-8bit",
    "adamw_torch_4bit": "adamw-8bit",
}
_OPTIMIZERS = {
    "paged_adamw_8bit": "paged-adamw-8bit",
    "adamw_bnb_8bit": "adamw-8bit",
    "adamw_8bit": "adamw-8bit",
    "adafactor": "adafactor",
    "schedule_free_adamw": "schedule-free",
}

REGISTRY = "releases go to the registry, checkpoints beside the build"
OURS = "a build decides it by itself"
HARDWARE = "it changes speed or memory, not what is learnt"
REPORTS = "it changes what is reported, not what is learnt"

# Keys that need nothing else to be known.
TRAINING: dict[str, Rule] = {
    "output_dir": Idle(REGISTRY),
    "overwrite_output_dir": Idle(REGISTRY),
    "save_steps": Idle(OURS),
    "save_strategy": Idle(OURS),
    "save_total_limit": Idle(OURS),
    "save_only_model": Idle(OURS),
    "save_safetensors": Idle("only safetensors is written"),
    "load_best_model_at_end": Idle("the best checkpoint is published"),
    "eval_steps": Idle("`train.evaluations` says how often"),
    "eval_strategy": Idle("`train.evaluations` says how often"),
    "evaluation_strategy": Idle("`train.evaluations` says how often"),
    "per_device_eval_batch_size": Idle(HARDWARE),
    "eval_batch_size": Idle(HARDWARE),
    "logging_steps": Idle(REPORTS),
    "logging_dir": Idle(REPORTS),
    "run_name": Idle(REPORTS),
    "dataloader_num_workers": Idle(HARDWARE),
    "dataloader_pin_memory": Idle(HARDWARE),
    "dataloader_prefetch_factor": Idle(HARDWARE),
    "ddp_timeout": Idle(HARDWARE),
    "tf32": Idle(HARDWARE),
    "low_cpu_mem_usage": Idle(HARDWARE),
    "torch_compile": Idle(HARDWARE),
    "device_map": Idle(HARDWARE),
    "use_liger_kernel": Idle(HARDWARE),
    "resume_from_checkpoint": Idle("an interrupted build goes on when it is started again"),
    # Boilerplate of nearly every example: a base that does not go without has no manifest either.
    "trust_remote_code": Idle(
        "code of a model's repository is never run: a base that needs it is refused when it is "
        "prepared"
    ),
    "remove_unused_columns": Idle("columns that could change a row's meaning are named"),
    "ddp_find_unused_parameters": Idle(HARDWARE),
    "deepspeed": Not("say how weights are divided in `train.sharding`"),
    "fsdp": Not("say how weights are divided in `train.sharding`"),
    "fsdp_config": Not("say how weights are divided in `train.sharding`"),
    "neftune_noise_alpha": To("train.neftune_alpha", real, (0,)),
    "label_smoothing_factor": To("train.label_smoothing", real, (0,)),
    "torchdistx_path": Not("it is another framework"),
}


def put_batch(draft: Draft, key: str, default: int, *, whole: str | None = None) -> None:
    """The rows of a step: those of one forward pass, as often as gradients are added up.

    Args:
        whole: a key that says how many rows a step has in all.
    """
    accumulated = "gradient_accumulation_steps"
    rows = draft.get(key, default)
    steps = draft.get(accumulated)
    if whole is not None and draft.get(whole) is not None:
        try:
            every = positive(draft.get(whole))
            count, left = divmod(every, positive(rows))
        except ValueError as error:
            draft.refuse(whole, str(error))
            return
        if left or steps not in (None, count):
            draft.refuse(whole, f"it is not {key} times {accumulated}")
            return
        steps = count
        draft.note(whole, "mapped", "train.batch_size")
    try:
        draft.put("train.batch_size", positive(rows) * positive(1 if steps is None else steps))
        draft.put("train.micro_batch_size", rows)
    except ValueError as error:
        draft.refuse(key, str(error))
        return
    why = "of one device: multiply it by the number of yours"
    draft.note(key, "mapped", "train.batch_size", why=why)
    draft.note(accumulated, "mapped", "train.batch_size")


def put_schedule(draft: Draft, key: str, default: str) -> None:
    """The course of the learning rate."""
    name = str(draft.get(key, default))
    if name not in _SCHEDULES:
        draft.refuse(key, f"the schedule `{name}` is not there: linear, cosine, constant are")
        return
    draft.map(key, "train.schedule", _SCHEDULES[name])


def put_warmup(draft: Draft, *, otherwise: float = 0.0, most: int | None = None) -> None:
    """Warm-up as a share of the steps; a count of steps only where their number is known.

    Args:
        otherwise: the share where neither is named.
        most: steps that this share is at most.
    """
    steps = draft.number("warmup_steps")
    ratio = draft.number("warmup_ratio")
    if steps is not None and 0 < steps < 1:  # transformers 5 takes a share here
        draft.map("warmup_steps", "train.warmup_ratio", steps)
    elif steps:
        total = draft.number("max_steps")
        if total and total > 0:
            draft.map("warmup_steps", "train.warmup_ratio", round(min(steps / total, 1.0), 6))
        else:
            draft.refuse(
                "warmup_steps",
                "how many steps there are follows from the rows: write `warmup_ratio`",
            )
    elif steps is None and ratio is None and otherwise:
        why = f"of the steps, where it is at most {most} of them" if most else ""
        draft.map("warmup_ratio", "train.warmup_ratio", otherwise, why=why, differs=bool(most))
    else:
        draft.map("warmup_ratio", "train.warmup_ratio", float(ratio or 0.0))


def put_optimizer(draft: Draft, key: str, default: str = "adamw_torch") -> None:
    """One of ours under the program's name."""
    name = str(draft.get(key, default)).lower()
    if name in _ADAMW:
        draft.map(key, "train.optimizer", "adamw")
    elif name in _IN_8_BITS:
        why = "its states are held in 8 bits, as bitsandbytes does"
        draft.map(key, "train.optimizer", _IN_8_BITS[name], why=why, differs=True)
    elif name in _OPTIMIZERS:
        draft.map(key, "train.optimizer", _OPTIMIZERS[name])
    else:
        known = ", ".join(("AdamW", *_OPTIMIZERS))
        draft.refuse(key, f"the optimizer `{name}` is not there: {known} are")


def put_precision(draft: Draft, *switches: tuple[str, str], otherwise: str = "fp32") -> None:
    """The first switch that is on decides; `auto` where the program looks for itself.

    Args:
        otherwise: where none is on.
    """
    for key, precision in switches:
        value = draft.get(key)
        if value in ("auto", "full"):
            draft.map(key, "train.precision", "auto")
            return
        if value is not None and draft.on(key):
            draft.map(key, "train.precision", precision)
            return
    draft.map(switches[0][0], "train.precision", otherwise)


def put_base(draft: Draft, key: str, folder: Path, revision: str | None) -> None:
    """A base model: a folder beside the configuration, or a repository of the Hub."""
    model = draft.get(key)
    if not isinstance(model, str) or not model:
        draft.refuse(key, "the base model is not named")
        return
    if (folder / model).is_dir() or model.startswith(("/", ".", "~")):
        draft.map(key, "base.model", model)
        return
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model) is None:
        draft.refuse(key, f"`{model}` is neither a folder nor `org/name` of the Hub")
        return
    pinned = re.fullmatch(r"[0-9a-f]{40}", revision or "") is not None
    draft.map(
        key,
        "base.model",
        f"hub:{model}@{revision or 'main'}",
        why="" if pinned else "put the commit in place of the branch: `plan` refuses what can move",
    )


def trackers(value: Any) -> list[str]:
    """`report_to`; `all` and `none` name none."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise ValueError("it is no list of trackers")
    known = ("tensorboard", "trackio", "mlflow", "wandb")
    found = [str(name) for name in listed if name not in ("none", "all")]
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ValueError(f"the tracker `{unknown[0]}` is not there: {', '.join(known)} are")
    return found


def adapter_name(text: str) -> str:
    """A name that a manifest may have, from whatever a run was called."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    return name or "imported"


def put_held_out(draft: Draft, key: str) -> None:
    """The share of the rows that a training is checked on."""
    share = draft.number(key, 0.0) or 0.0
    if share >= 1:
        draft.refuse(key, "a share of the rows is held out, not a number of them")
    elif share > 0:
        draft.map(key, "data.validation_share", float(share))
    else:
        why = "a build chooses its best checkpoint by held-out rows"
        draft.map(key, "data.validation_share", 0.05, why=why, differs=True)


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one set.

    Attributes:
        columns: our name → the source's, where they differ.
        limit: at most this many of them.
    """

    source: str
    form: str
    columns: dict[str, str]
    limit: int | None = None


def put_sources(draft: Draft, sets: Sequence[Source]) -> tuple[str, ...]:
    """The first set is trained on, the others are mixed in; returns the keys that were set.

    A set of the mix names its format where it has other columns, as it has the first's otherwise.
    """
    first, *others = sets
    draft.put("data.train", first.source)
    draft.put("data.format", first.form)
    if first.columns:
        draft.put("data.columns", first.columns)
    if first.limit is not None:
        draft.put("data.limit", first.limit)
    if not others:
        return ("data.train",)
    mix = []
    for entry in others:
        table: dict[str, Any] = {"source": entry.source}
        if entry.form != first.form or entry.columns != first.columns:
            table["format"] = entry.form
            if entry.columns:
                table["columns"] = entry.columns
        if entry.limit is not None:
            table["limit"] = entry.limit
        mix.append(table)
    draft.put("data.mix", mix)
    return ("data.train", "data.mix")


def put_checked(
    draft: Draft, key: str, checked: Sequence[Source], trained: Sequence[Source]
) -> bool:
    """The rows that a training is checked on, read as its first set is; whether any are named.

    Args:
        trained: the sets that are trained on.
    """
    if len(checked) > 1:
        draft.refuse(key, "there is one validation set")
    elif checked:
        (one,) = checked
        if trained and (one.form, one.columns) != (trained[0].form, trained[0].columns):
            draft.refuse(key, "its rows have another form than those of the first set")
            return False
        draft.map(key, "data.validation", one.source)
        if one.limit is not None:
            draft.put("data.limit_validation", one.limit)
    return bool(checked)


def put_packed_ahead(draft: Draft) -> None:
    """Say which rows are packed together: those that fill a sequence, of which a batch counts; not
    where several sequences are learnt together."""
    kind = draft.manifest.get("objective", {}).get("kind", "sft")
    if draft.manifest.get("train", {}).get("packing") and kind == "sft":
        draft.put("train.packing_strategy", "bfd")
