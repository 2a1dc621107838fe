"""TRL's configurations (1.16: `trl sft --config FILE`, and dpo, kto, reward), by its defaults.

The file does not say of which trainer it is: the command did. Nor does it say what the rows look
like: those of a file that is there are looked at, those of the Hub are taken to be chats.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.common import (
    adapter_name,
    put_base,
    put_batch,
    put_held_out,
    put_optimizer,
    put_precision,
    put_schedule,
    put_sources,
    put_warmup,
)
from adapterworks.manifests.importing.conversion import Conversion, Draft, names
from adapterworks.manifests.importing.trl_keys import JOINT, RULES
from adapterworks.manifests.importing.trl_objectives import TRAINERS, Trainer
from adapterworks.manifests.importing.trl_rows import find_sets, put_validation

PROGRAM = "TRL"


def convert(
    given: Mapping[str, Any], folder: Path, name: str, *, trainer: str = TRAINERS[0].name
) -> Conversion:
    """The manifest of a configuration.

    Args:
        given: the YAML file's keys.
        folder: that relative paths are relative to.
        name: of the adapter.
        trainer: the command of `trl` that the file is for, one of `TRAINERS`.
    """
    chosen = next(one for one in TRAINERS if one.name == trainer)
    draft = Draft(given)
    draft.put("adapter.name", adapter_name(name))
    put_base(draft, "model_name_or_path", folder, draft.get("model_revision"))
    draft.apply(RULES)
    _method(draft, chosen)
    draft.put("objective.kind", chosen.name)
    chosen.put(draft)
    sets = find_sets(draft, folder, chosen)
    if sets:
        draft.note("datasets" if draft.get("datasets") else "dataset_name", "mapped",
                   *put_sources(draft, sets))  # fmt: skip
    if not put_validation(draft) and "test_split_size" not in given:
        put_held_out(draft, "val_size")
    _training(draft, chosen)
    if not chosen.compares:
        _learnt(draft)
    return draft.finish(PROGRAM, {*RULES, *JOINT})


def _method(draft: Draft, trainer: Trainer) -> None:
    quantized = draft.on("load_in_4bit")
    if quantized:
        if draft.get("bnb_4bit_quant_type", "nf4") != "nf4":
            draft.refuse("bnb_4bit_quant_type", "bases are NF4 or not quantized")
        draft.map("load_in_4bit", "base.quantization", "nf4")
        draft.map("use_bnb_nested_quant", "base.double_quantization",
                  draft.on("use_bnb_nested_quant"))  # fmt: skip
    if not draft.on("use_peft"):
        draft.map("use_peft", "method.kind", "full")
        if quantized:
            draft.refuse("load_in_4bit", "a base in four bits cannot be trained in full")
        return
    dora = draft.on("use_dora")
    draft.map("use_peft", "method.kind", "dora" if dora else "qlora" if quantized else "lora")
    if dora:
        draft.note("use_dora", "mapped", "method.kind")
    draft.map("lora_r", "method.rank", draft.get("lora_r", 16))
    draft.map("lora_alpha", "method.alpha", draft.get("lora_alpha", 32))
    draft.map("use_rslora", "method.rslora", draft.on("use_rslora"))
    _drop_out(draft, trainer)
    _targets(draft)


def _drop_out(draft: Draft, trainer: Trainer) -> None:
    dropout = draft.number("lora_dropout", 0.05)
    if not trainer.compares:
        draft.map("lora_dropout", "method.dropout", dropout)
    elif draft.on("disable_dropout", default=True):
        draft.map("disable_dropout", "method.dropout", 0.0)
    elif dropout:
        draft.refuse("disable_dropout", "a policy with dropout cannot be compared with another")


def _targets(draft: Draft) -> None:
    key = "lora_target_modules"
    targets = draft.get(key)
    if targets is None:
        draft.map(key, "method.target_modules", ["q_proj", "v_proj"], differs=True,
                  why="PEFT's choice for Llama, Mistral, Qwen and Gemma: name your base's, if it "
                  "is another")  # fmt: skip
    elif targets in ("all-linear", ["all-linear"]):
        draft.map(key, "method.target_modules", "all-linear")
    else:
        try:
            draft.map(key, "method.target_modules", names(targets))
        except ValueError as error:
            draft.refuse(key, str(error))


def _training(draft: Draft, trainer: Trainer) -> None:
    put_batch(draft, "per_device_train_batch_size", 8)
    draft.map("num_train_epochs", "train.epochs", float(draft.number("num_train_epochs", 3.0) or 3))
    draft.map("learning_rate", "train.learning_rate",
              draft.number("learning_rate", trainer.rate))  # fmt: skip
    put_schedule(draft, "lr_scheduler_type", "linear")
    put_warmup(draft)
    put_optimizer(draft, "optim", "adamw_torch_fused")
    if draft.get("bf16") is None and not draft.on("fp16"):
        draft.map("bf16", "train.precision", "bf16")
    else:
        put_precision(draft, ("bf16", "bf16"), ("fp16", "fp16"))
    draft.map("gradient_checkpointing", "train.gradient_checkpointing",
              draft.on("gradient_checkpointing", default=True))  # fmt: skip
    if "max_length" in draft.given and draft.get("max_length") is None:
        draft.refuse("max_length", "rows have a longest one here: name it, and none is cut")
    else:
        draft.map("max_length", "train.max_length", draft.get("max_length", 1024))
    draft.map("truncation_mode", "train.on_overflow", "cut", differs=True,
              why="the answer stays and the question is cut; TRL cuts at the end")  # fmt: skip


def _learnt(draft: Draft) -> None:
    """Which tokens: of questions with an answer the answer, of chats everything, unless said."""
    packing = draft.on("packing")
    cut = packing and draft.get("packing_strategy", "bfd") != "bfd"
    draft.map("packing", "train.packing", packing)
    if packing:
        why = "rows of a sequence are whole and do not see each other" if cut else ""
        draft.map("packing_strategy", "train.packing_strategy", "bfd", why=why, differs=cut)
    answers = draft.on("assistant_only_loss")
    pairs = draft.manifest.get("data", {}).get("format") == "prompt-completion"
    completion = draft.on("completion_only_loss", default=pairs)
    key = "assistant_only_loss" if answers else "completion_only_loss"
    draft.map(key, "train.loss_on", "completion" if answers or completion else "all")
