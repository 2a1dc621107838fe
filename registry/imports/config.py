"""adapter_config.json, read by allow-list: what is not known to be harmless is refused.

Invariant: a `LoraConfig` that was returned means to PEFT exactly what it means to the engine,
except for DoRA, which is flagged. Features that change the base, add weights or name code are
refused with the key's name. What is written into a release is `LoraConfig.to_peft`, not the file
that was given. Keys: peft 0.21 `LoraConfig`; engine: vllm/lora/peft_helper.py.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from adapterworks.registry.imports import strictjson
from adapterworks.registry.imports.errors import ImportRefused, show
from adapterworks.registry.imports.folder import CONFIG

MAX_RANK = 512  # vLLM's largest max_lora_rank
MAX_DEPTH = 6
_BOM = b"\xef\xbb\xbf"  # editors on Windows write it
Word = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_.\-]+$")
]
Rank = Annotated[int, Field(gt=0, le=MAX_RANK)]
Alpha = Annotated[float, Field(gt=0, le=1e6)]

# Methods PEFT knows that are not imported, and why.
_OTHER_TYPES = {
    "ADALORA": "its singular values are not part of the LoRA form that engines take",
    "PREFIX_TUNING": "past key-values of strangers are not served",
    "PROMPT_TUNING": "soft prompts of strangers are not served",
    "P_TUNING": "soft prompts of strangers are not served",
}
# Keys that other tools leave in the file and that mean nothing to the weights.
_IGNORED = {
    "inference_mode", "revision", "peft_version", "lora_dropout", "loftq_config", "eva_config",
    "runtime_config", "megatron_core", "ephemeral_gpu_offload", "qalora_group_size",
    "lora_ga_config", "corda_config", "layers_pattern", "layers_to_transform", "exclude_modules",
    "ensure_weight_tying",
}  # fmt: skip
# Keys that must be off, and what they would do.
_MUST_BE_OFF = {
    "auto_map": "it names code to be run",
    "auto_mapping": "it names a library to be imported",
    "modules_to_save": "whole layers of the base would be replaced, which the engine cannot do",
    "lora_bias": "the engine has no bias for LoRA",
    "trainable_token_indices": "it changes the base's embeddings",
    "target_parameters": "the engine adapts modules, not parameters",
    "layer_replication": "it changes the base's layers",
    "alora_invocation_tokens": "the engine cannot switch an adapter on inside a prompt",
    "use_qalora": "the engine does not implement it",
    "use_bdlora": "the engine does not implement it",
    "arrow_config": "the engine does not route between adapters",
    "kasa_config": "the engine does not implement it",
    "velora_config": "the engine does not implement it",
    "monteclora_config": "the engine does not implement it",
    "megatron_config": "it belongs to another trainer",
}
# Keys of PEFT before 0.3, harmless where they are off; what each of them did.
_DEAD = {
    "enable_lora": "it adapted parts of a fused layer",
    "merge_weights": "it merged the adapter into the base",
}
# Keys where null says what leaving it out says.
_HAVE_DEFAULTS = {
    "rank_pattern", "alpha_pattern", "bias", "fan_in_fan_out", "use_rslora", "use_dora",
}  # fmt: skip
_HARMLESS_INITS = {"gaussian", "eva", "orthogonal", "mica"}
# Those that take from the base what they give the factors. PEFT's `save_pretrained` can write the
# difference to the factors at the beginning: a LoRA on the base as it was.
_CONVERTIBLE = ("pissa", "olora", "corda", "lora_ga")


class LoraConfig(BaseModel):
    """What a LoRA's weights mean: the keys that matter, strictly typed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    peft_type: Literal["LORA"]
    task_type: Literal[
        "CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"
    ] | None = None  # fmt: skip
    base_model_name_or_path: Any = None  # where it lay elsewhere: replaced, and shown escaped
    r: Rank
    lora_alpha: Alpha
    target_modules: Annotated[list[Word], Field(min_length=1, max_length=4096)] | str
    bias: Literal["none"] = "none"
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: bool | str | None = True
    rank_pattern: Annotated[dict[Word, Rank], Field(max_length=4096)] = {}
    alpha_pattern: Annotated[dict[Word, Alpha], Field(max_length=4096)] = {}

    def rank_of(self, module: str) -> int:
        """The rank PEFT gave `module` (a path in the base)."""
        for key, rank in self.rank_pattern.items():
            if module == key or module.endswith(f".{key}"):
                return rank
        return self.r

    def notes(self) -> list[str]:
        """What was read and means nothing here, in words."""
        if self.task_type in (None, "CAUSAL_LM"):
            return []
        return [f"its task type is {self.task_type}; it is served for generation, as CAUSAL_LM"]

    def to_peft(self, *, base: str, target_modules: list[str]) -> dict[str, Any]:
        """The config written into a release: these keys and no others."""
        return {
            "alpha_pattern": dict(self.alpha_pattern),
            "auto_mapping": None,
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": self.fan_in_fan_out,
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_alpha": int(self.lora_alpha) if self.lora_alpha % 1 == 0 else self.lora_alpha,
            "lora_dropout": 0.0,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": dict(self.rank_pattern),
            "target_modules": target_modules,
            "task_type": "CAUSAL_LM",
            "use_dora": self.use_dora,
            "use_rslora": self.use_rslora,
        }


def parse_config(data: bytes, *, file: str = CONFIG) -> LoraConfig:
    """Check an `adapter_config.json`.

    Raises:
        ImportRefused: with every fault of the file, the key of each named.
    """
    table = strictjson.parse(data.removeprefix(_BOM), file=file, max_depth=MAX_DEPTH)
    if not isinstance(table, dict):
        raise ImportRefused(file, "not a table")
    kind = table.get("peft_type")
    if kind != "LORA":
        why = _OTHER_TYPES.get(kind, "only LORA is imported") if isinstance(kind, str) else None
        why = why or "only LORA is imported"
        raise ImportRefused(
            file, f"`peft_type` is `{show(str(kind))}`: {why}",
            hint="train it here from a manifest (`adapters methods` lists how)",
        )  # fmt: skip
    off = _MUST_BE_OFF | _DEAD
    faults = [
        f"`{key}` must not be set: {why}"
        for key, why in off.items()
        if table.get(key) not in (None, False, [], {})
        and not (key == "auto_mapping" and is_plain_mapping(table[key]))
    ]
    known = {k: v for k, v in table.items() if k not in _IGNORED and k not in off}
    for key, value in [*known.items()]:
        # A newer PEFT writes all of its keys: one that is off adds nothing to what we know.
        is_off = value is None or value is False or value in ("", [], {})
        unknown = is_off and key not in LoraConfig.model_fields
        if unknown or (value is None and key in _HAVE_DEFAULTS):
            del known[key]
    try:
        config = LoraConfig.model_validate(known)
    except ValidationError as error:
        raise ImportRefused(file, "; ".join(faults + _describe(error))) from error
    faults += _faults(config)
    if faults:
        raise ImportRefused(file, "; ".join(faults))
    return config


def is_plain_mapping(value: Any) -> bool:
    """Whether an `auto_mapping` only says which class of transformers the base has.

    PEFT writes that when no task type was given; nothing here or in a release reads it.
    """
    return (
        isinstance(value, dict)
        and value.keys() <= {"base_model_class", "parent_library", "unsloth_fixed"}
        and re.fullmatch(r"\w{1,100}", str(value.get("base_model_class"))) is not None
        and re.fullmatch(r"transformers(\.\w{1,100}){1,5}", str(value.get("parent_library")))
        is not None
    )


def _faults(config: LoraConfig) -> list[str]:
    faults = []
    init = config.init_lora_weights
    if isinstance(init, str) and init.lower() not in _HARMLESS_INITS:
        way = (
            "; save it with PEFT's `path_initial_model_for_weight_conversion`"
            if init.lower().startswith(_CONVERTIBLE)
            else ""
        )
        faults.append(
            f"`init_lora_weights` is `{show(init)}`: it was trained on a base whose weights "
            f"that changes{way}"
        )
    # PEFT reads a text as a regular expression; we never run it: the tensors say which modules
    # are adapted, and the release's config lists them.
    if isinstance(config.target_modules, str) and len(config.target_modules) > 2048:
        faults.append("`target_modules` is an expression of more than 2048 characters")
    return faults


def _describe(error: ValidationError) -> list[str]:
    faults = []
    for item in error.errors(include_url=False)[:8]:
        key = ".".join(show(str(part), 60) for part in item["loc"] if not _is_branch(part))
        if item["type"] == "extra_forbidden":
            faults.append(f"the key `{key}` is not one of a LoRA config")
        elif item["type"] == "missing":
            faults.append(f"the key `{key}` is missing")
        else:
            value = show(repr(item["input"]), 60)
            faults.append(f"`{key}` is {value}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return faults


def _is_branch(part: int | str) -> bool:
    """Pydantic names the branch of a union in `loc`; that is no key of the file."""
    return isinstance(part, str) and (part in {"bool", "str", "none"} or "[" in part)
