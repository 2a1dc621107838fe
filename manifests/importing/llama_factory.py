"""LLaMA-Factory's training configurations (0.9: `llamafactory-cli train FILE`), by its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.common import (
    Source,
    adapter_name,
    put_base,
    put_batch,
    put_checked,
    put_held_out,
    put_optimizer,
    put_packed_ahead,
    put_precision,
    put_schedule,
    put_sources,
    put_warmup,
)
from adapterworks.manifests.importing.conversion import Conversion, Draft, names
from adapterworks.manifests.importing.llama_factory_data import datasets
from adapterworks.manifests.importing.llama_factory_keys import ASIDE, JOINT, RULES
from adapterworks.manifests.importing.llama_factory_pairs import KEYS, STAGE, put_objective

PROGRAM = "LLaMA-Factory"


def convert(given: Mapping[str, Any], folder: Path, name: str) -> Conversion:
    """The manifest of a configuration.

    Args:
        given: the YAML file's keys.
        folder: that relative paths are relative to.
        name: of the adapter, if the configuration tells none.
    """
    draft = Draft(given)
    draft.put("adapter.name", adapter_name(name))
    put_base(draft, "model_name_or_path", folder, draft.get("model_revision"))
    draft.apply(RULES)
    _method(draft)
    _rows(draft, folder)
    _training(draft)
    known = {*RULES, *JOINT, *KEYS, *(key for key in given if key.startswith(ASIDE))}
    return draft.finish(PROGRAM, known)


def _method(draft: Draft) -> None:
    stage = draft.get("stage", "sft")
    if stage == STAGE:
        put_objective(draft)
    elif stage not in ("sft", "pt"):
        draft.refuse("stage", f"the stage `{stage}` is not imported: `sft`, `pt` and `dpo` are")
    else:
        draft.note("stage", "mapped", "objective.kind")
        draft.put("objective.kind", "sft")
    kind = draft.get("finetuning_type", "lora")
    if kind == "full":
        draft.map("finetuning_type", "method.kind", "full")
    elif kind != "lora":
        draft.refuse("finetuning_type", f"`{kind}` is not there: lora and full are")
    else:
        _lora(draft)
    bits = draft.get("quantization_bit")
    if bits is None:
        return
    if bits != 4 or draft.get("quantization_type", "nf4") != "nf4":
        draft.refuse("quantization_bit", "bases are NF4 or not quantized")
    elif str(draft.get("quantization_method", "bnb")).lower() not in ("bnb", "bitsandbytes"):
        draft.refuse("quantization_method", "bases are quantized by bitsandbytes' NF4")
    else:
        draft.map("quantization_bit", "base.quantization", "nf4")
        draft.map("double_quantization", "base.double_quantization",
                  draft.on("double_quantization", default=True))  # fmt: skip


def _lora(draft: Draft) -> None:
    dora = draft.on("use_dora")
    quantized = draft.get("quantization_bit") is not None
    draft.map(
        "finetuning_type", "method.kind", "dora" if dora else "qlora" if quantized else "lora"
    )
    if dora:
        draft.note("use_dora", "mapped", "method.kind")
    rank = draft.get("lora_rank", 8)
    draft.map("lora_rank", "method.rank", rank)
    draft.map("lora_alpha", "method.alpha", draft.get("lora_alpha", 2 * rank))
    draft.map("lora_dropout", "method.dropout", draft.number("lora_dropout", 0.0))
    draft.map("use_rslora", "method.rslora", draft.on("use_rslora"))
    try:
        targets = names(draft.get("lora_target", "all"))
    except ValueError as error:
        draft.refuse("lora_target", str(error))
        return
    everything = targets == ["all"]
    draft.map("lora_target", "method.target_modules", "all-linear" if everything else targets)


def _rows(draft: Draft, folder: Path) -> None:
    sets, checked = _sets(draft, "dataset", folder), _sets(draft, "eval_dataset", folder)
    if sets:
        draft.note("dataset", "mapped", *put_sources(draft, sets))
    # `max_samples` is of each set, also of the one that is checked on.
    if not put_checked(draft, "eval_dataset", checked, sets):
        put_held_out(draft, "val_size")
    if draft.get("template") is not None:
        draft.note(
            "template",
            "differs",
            why="rows are rendered by the base's own chat template, as they are when it is served",
        )


def _sets(draft: Draft, key: str, folder: Path) -> list[Source]:
    sets = datasets(draft, key, folder)
    if draft.get("stage") != "pt":
        return sets
    # A prompt without an answer is a text.
    return [
        replace(
            entry, form="text", columns={"text": entry.columns.get("instruction", "instruction")}
        )
        for entry in sets
    ]


def _training(draft: Draft) -> None:
    put_batch(draft, "per_device_train_batch_size", 8)
    draft.map("num_train_epochs", "train.epochs", float(draft.number("num_train_epochs", 3.0) or 3))
    draft.map("learning_rate", "train.learning_rate", draft.number("learning_rate", 5e-5))
    put_schedule(draft, "lr_scheduler_type", "linear")
    put_warmup(draft)
    put_optimizer(draft, "optim")
    put_precision(draft, ("bf16", "bf16"), ("fp16", "fp16"))
    _learnt(draft)
    if "cutoff_len" not in draft.given:
        draft.map("cutoff_len", "train.max_length", 2048)
    neat = draft.on("neat_packing")
    packing = draft.on("packing", default=draft.get("stage") == "pt")
    draft.map("neat_packing" if neat else "packing", "train.packing", neat or packing,
              why="rows of a sequence do not see each other" if packing and not neat else "",
              differs=packing and not neat)  # fmt: skip
    put_packed_ahead(draft)
    draft.map("disable_gradient_checkpointing", "train.gradient_checkpointing",
              not draft.on("disable_gradient_checkpointing"))  # fmt: skip


def _learnt(draft: Draft) -> None:
    """Which tokens: all of plain text; with `mask_history` those of the last answer."""
    everything = draft.on("train_on_prompt") or draft.get("stage") == "pt"
    last = draft.on("mask_history")
    if everything and last:
        draft.refuse("mask_history", "it contradicts that everything is learnt")
        return
    draft.map("train_on_prompt", "train.loss_on", "all" if everything else "completion")
    if last and draft.get("stage") == "dpo":
        draft.note("mask_history", "no effect", why="of pairs, answers alone are learnt")
    elif last:
        draft.map("mask_history", "train.loss_on", "last")
