"""Axolotl's configurations (0.19: `axolotl train FILE`), by its own defaults.

A data set's `type` is a prompt strategy; those that are chat rows, Alpaca's rows or plain text have
a format here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterworks.manifests.importing.axolotl_keys import JOINT, RULES, TOKENS
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
from adapterworks.manifests.importing.conversion import Conversion, Draft, Outcome, names
from adapterworks.manifests.sources import FILE_SUFFIXES

PROGRAM = "Axolotl"
_PLUGINS = (
    "axolotl.integrations.liger.LigerPlugin",
    "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin",
)
# What a strategy's rows are: format, and the column of its rows unless one is named.
_STRATEGIES = {
    "chat_template": ("messages", "messages"),
    "alpaca": ("instruction", ""),
    "completion": ("text", "text"),
    "sharegpt": ("sharegpt", "conversations"),
}
# Where they stand: our column, the key that names theirs.
_FIELDS = {
    "messages": ("messages", "field_messages"),
    "text": ("text", "field"),
    "sharegpt": ("conversations", "field_messages"),
}
# Loaders of files that may stand in place of a repository.
_LOADERS = ("json", "csv", "parquet", "arrow", "text")
_FILES = (*FILE_SUFFIXES, ".txt")
# What becomes of rows that are too long, by its name for it.
_TOO_LONG = {"drop": "drop", "truncate": "cut", "raise": "fail"}
_OF_A_SET = {
    "path",
    "type",
    "split",
    "data_files",
    "ds_type",
    "name",
    "revision",
    "field",
    "field_messages",
    "message_property_mappings",
    "message_field_role",
    "message_field_content",
    "roles_to_train",
    "train_on_eos",
    "trust_remote_code",
}


def convert(given: Mapping[str, Any], folder: Path, name: str) -> Conversion:
    """The manifest of a configuration; see `llama_factory.convert`."""
    draft = Draft(given)
    draft.put("adapter.name", adapter_name(name))
    put_base(draft, "base_model", folder, draft.get("revision_of_model"))
    draft.apply(RULES)
    _method(draft)
    _rows(draft, folder)
    _training(draft)
    _others(draft)
    return draft.finish(PROGRAM, {*RULES, *JOINT})


def _method(draft: Draft) -> None:
    kind = draft.get("adapter")
    quantized = draft.on("load_in_4bit") or kind == "qlora"
    if kind is None:
        draft.map("adapter", "method.kind", "full")
        if quantized:
            draft.refuse("load_in_4bit", "a base in four bits cannot be trained in full")
        return
    if kind not in ("lora", "qlora"):
        draft.refuse("adapter", f"`{kind}` is not there: lora and qlora are")
        return
    dora = draft.on("peft_use_dora")
    draft.map("adapter", "method.kind", "dora" if dora else "qlora" if quantized else "lora")
    draft.note("peft_use_dora", "mapped", "method.kind")
    if quantized:
        draft.map("load_in_4bit", "base.quantization", "nf4")
    draft.map("lora_r", "method.rank", draft.get("lora_r", 8))
    draft.map("lora_alpha", "method.alpha", draft.get("lora_alpha", 8))
    draft.map("lora_dropout", "method.dropout", draft.number("lora_dropout", 0.0))
    draft.map("peft_use_rslora", "method.rslora", draft.on("peft_use_rslora"))
    if draft.on("lora_target_linear"):
        draft.map("lora_target_linear", "method.target_modules", "all-linear")
        return
    targets = draft.get("lora_target_modules")
    if targets == "all-linear":
        draft.map("lora_target_modules", "method.target_modules", "all-linear")
    elif targets is None:
        draft.refuse("lora_target_modules", "the modules that get an adapter are not named")
    else:
        try:
            draft.map("lora_target_modules", "method.target_modules", names(targets))
        except ValueError as error:
            draft.refuse("lora_target_modules", str(error))


def _rows(draft: Draft, folder: Path) -> None:
    # Texts are learnt whole wherever they stand, and what the first set is learns of `loss_on`.
    sets = sorted(_sets(draft, "datasets", folder), key=lambda one: one.form == "text")
    if sets:
        template = sets[0].form != "text"
        why = "rows are rendered by the base's own chat template" if template else ""
        outcome: Outcome = "differs" if template else "mapped"
        draft.note("datasets", outcome, *put_sources(draft, sets), why=why)
    if not put_checked(draft, "test_datasets", _sets(draft, "test_datasets", folder), sets):
        put_held_out(draft, "val_set_size")


def _sets(draft: Draft, key: str, folder: Path) -> list[Source]:
    listed = draft.get(key)
    if listed is None:
        if key == "datasets":
            draft.refuse(key, "no data set is named")
        return []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        draft.refuse(key, "it is no list of data sets")
        return []
    found = []
    for entry in listed:
        reason = _objection(entry, folder)
        if reason:
            draft.refuse(key, f"`{entry.get('path')}` {reason}")
        else:
            found.append(_source(entry, folder))
    return found


def _objection(entry: dict[str, Any], folder: Path) -> str:
    kind = entry.get("type")
    if not isinstance(entry.get("path"), str):
        return "names no path"
    if not isinstance(kind, str) or kind not in _STRATEGIES:
        return f"has the strategy `{kind}`: {', '.join(_STRATEGIES)} are known"
    unknown = sorted(key for key in entry if key not in _OF_A_SET and entry[key] is not None)
    if unknown:
        return f"has `{unknown[0]}`, which is not imported"
    if entry.get("trust_remote_code"):
        return "would run code of a repository"
    if entry.get("roles_to_train") not in (None, ["assistant"], ["gpt"]):
        return "learns other turns than the assistant's"
    files = entry.get("data_files")
    if isinstance(files, list) and len(files) > 1:
        return "has several files: name each as a data set"
    if entry.get("train_on_eos") not in (None, "turn"):
        return "learns other ends than those of its answers"
    hub = _of_the_hub(entry["path"], folder)
    if not files and (folder / entry["path"]).is_dir():
        return "is a folder here: name its files in `data_files`, one a data set"
    if files and hub:
        return "names a file of a repository, of which only whole configurations are read"
    if not hub and (entry.get("split") or "train") != "train":
        return f"has the split `{entry['split']}`, and a file is read whole"
    parts = [str(entry[key]) for key in ("name", "split") if hub and entry.get(key) is not None]
    if strange := [part for part in parts if re.fullmatch(r"[\w.-]+", part) is None]:
        return f"takes `{strange[0]}`, and splits are read whole"
    if _turn(entry) not in (("role", "content"), ("from", "value")):
        role, content = _turn(entry)
        return f"has turns of `{role}` and `{content}`; role and content, from and value are known"
    return ""


def _of_the_hub(path: str, folder: Path) -> bool:
    """Whether a path is a repository: it is not here, as Axolotl looks first, and it is spelled as
    one: files have endings, and folders begin with a dot or slash."""
    local = (
        "/" not in path.strip("./") or path.startswith((".", "/")) or path.lower().endswith(_FILES)
    )
    return not local and not (folder / path).exists()


def _turn(entry: dict[str, Any]) -> tuple[str, str]:
    """What the role and the text of a turn are called."""
    mapping = entry.get("message_property_mappings") or {}
    return (
        str(mapping.get("role", entry.get("message_field_role") or "role")),
        str(mapping.get("content", entry.get("message_field_content") or "content")),
    )


def _source(entry: dict[str, Any], folder: Path) -> Source:
    form, column = _STRATEGIES[entry["type"]]
    if form == "messages" and _turn(entry) == ("from", "value"):
        form = "sharegpt"
    columns = {}
    if form in _FIELDS:
        ours, key = _FIELDS[form]
        theirs = entry.get(key) or column
        columns = {ours: theirs} if theirs != ours else {}
    path, files = entry["path"], entry.get("data_files")
    if _of_the_hub(path, folder):
        part = entry.get("split") or "train"
        part = f"{entry['name']}:{part}" if entry.get("name") else part
        path = f"hub:{path}@{entry.get('revision') or 'main'}#{part}"
    elif files:
        file = files[0] if isinstance(files, list) else files
        path = file if path in _LOADERS else str(Path(path) / file)
    return Source(path, form, columns)


def _training(draft: Draft) -> None:
    put_batch(draft, "micro_batch_size", 1, whole="batch_size")
    draft.map("num_epochs", "train.epochs", float(draft.number("num_epochs", 1.0) or 1))
    rate = draft.number("learning_rate")
    if rate is None:
        draft.refuse("learning_rate", "it is not named")
    else:
        draft.map("learning_rate", "train.learning_rate", rate)
    put_schedule(draft, "lr_scheduler", "cosine")
    put_warmup(draft, otherwise=0.03, most=100)
    put_optimizer(draft, "optimizer")
    switches = (("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("float16", "fp16"))
    said = any(key in draft.given for key, _ in switches)
    put_precision(draft, *switches, otherwise="fp32" if said else "auto")
    if draft.get("sequence_len") is None:
        draft.map("sequence_len", "train.max_length", 512)
    text = draft.manifest.get("data", {}).get("format") == "text"
    long = str(draft.get("excess_length_strategy", "drop"))
    if long not in _TOO_LONG:
        draft.refuse("excess_length_strategy", f"it is none of {', '.join(_TOO_LONG)}")
    else:
        draft.map("excess_length_strategy", "train.on_overflow", _TOO_LONG[long])
    draft.map("train_on_inputs", "train.loss_on",
              "all" if draft.on("train_on_inputs") or text else "completion")  # fmt: skip
    draft.map("sample_packing", "train.packing", draft.on("sample_packing"))
    put_packed_ahead(draft)


def _others(draft: Draft) -> None:
    template = draft.get("chat_template")
    if template is not None:
        same = str(template).startswith("tokenizer_default")
        why = "rows are rendered by the base's own chat template, as they are when it is served"
        draft.note("chat_template", "mapped" if same else "differs", why=why)
    tokens = draft.get("special_tokens")
    if tokens:
        only = set(tokens) <= {"pad_token"}
        draft.note("special_tokens", "no effect" if only else "refused",
                   why="padding is never learnt" if only else TOKENS)  # fmt: skip
    plugins = draft.get("plugins", [])
    unknown = [str(plugin) for plugin in plugins if plugin not in _PLUGINS]
    if unknown:
        draft.refuse("plugins", f"`{unknown[0]}` may change what is learnt")
    used = [key.removeprefix("use_") for key in JOINT if key.startswith("use_") and draft.on(key)]
    if draft.get("wandb_project") and "wandb" not in used and draft.on("use_wandb", default=True):
        used.append("wandb")
    if used:
        draft.put("train.trackers", sorted(used))
    for key in used:
        if f"use_{key}" in draft.given:
            draft.note(f"use_{key}", "mapped", "train.trackers")
