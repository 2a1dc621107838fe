"""What comes with adapterworks, by kind and name: the one line that a thing costs beside its file.

Each value says where the thing is, as an entry point of another distribution would
(`module:attribute`), and is imported when it is asked for: the names are known here, at the lowest
layer, so that a manifest is checked without importing what trains or evaluates. The modules named
here import torch, transformers and their like inside functions only.
"""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal[
    "methods",
    "objectives",
    "metrics",
    "data_gates",
    "quality_gates",
    "formats",
    "recipes",
    "merge_rules",
    "retention_suites",
    "trackers",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_METHODS = "adapterworks.builders.methods"
_METRICS = "adapterworks.builders.evaluation.metrics"
_RECIPES = "adapterworks.builders.data.recipes"
_FORMATS = "adapterworks.builders.data.formats"
_OBJECTIVES = "adapterworks.builders.objectives"

BUILTIN: dict[Kind, dict[str, str]] = {
    "methods": {
        "full": f"{_METHODS}.full:FULL",
        "lora": f"{_METHODS}.lora:LORA",
        "qlora": f"{_METHODS}.qlora:QLORA",
        "adalora": f"{_METHODS}.adalora:ADALORA",
        "dora": f"{_METHODS}.dora:DORA",
        "prefix-tuning": f"{_METHODS}.prefix_tuning:PREFIX_TUNING",
        "prompt-tuning": f"{_METHODS}.prompt_tuning:PROMPT_TUNING",
        "p-tuning-v2": f"{_METHODS}.p_tuning_v2:P_TUNING_V2",
    },
    "objectives": {"sft": f"{_OBJECTIVES}.sft:OBJECTIVE"},
    "metrics": {
        "exact_match": f"{_METRICS}.labels:EXACT_MATCH",
        "accuracy": f"{_METRICS}.labels:ACCURACY",
        "macro_f1": f"{_METRICS}.labels:MACRO_F1",
        "rouge_l": f"{_METRICS}.overlap:ROUGE_L",
        "bleu": f"{_METRICS}.overlap:BLEU",
        "chrf": f"{_METRICS}.overlap:CHRF",
        "icd_category": f"{_METRICS}.icd:ICD_CATEGORY",
        "icd_chapter": f"{_METRICS}.icd:ICD_CHAPTER",
        "ast_match": f"{_METRICS}.code:AST_MATCH",
        "ruff_clean": f"{_METRICS}.code:RUFF_CLEAN",
        "perplexity": f"{_METRICS}.likelihood:PERPLEXITY",
    },
    "data_gates": {},
    "quality_gates": {},
    "formats": {
        "messages": f"{_FORMATS}.messages:FORMAT",
        "instruction": f"{_FORMATS}.instruction:FORMAT",
        "prompt-completion": f"{_FORMATS}.prompt_completion:FORMAT",
        "preference": f"{_FORMATS}.preference:FORMAT",
        "text": f"{_FORMATS}.text:FORMAT",
        "sharegpt": f"{_FORMATS}.sharegpt:FORMAT",
    },
    "recipes": {
        "icd-10-cm": f"{_RECIPES}.icd_10_cm:RECIPE",
        "botocore-kb": f"{_RECIPES}.botocore_kb:RECIPE",
        "stdlib-ruff": f"{_RECIPES}.stdlib_ruff:RECIPE",
        "general": f"{_RECIPES}.general:RECIPE",
    },
    "merge_rules": {},
    "retention_suites": {},
    "trackers": {},
}
