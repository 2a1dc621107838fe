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
    "exports",
    "optimizers",
    "schedules",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_METHODS = "adapterworks.builders.methods"
_METRICS = "adapterworks.builders.evaluation.metrics"
GRADED = f"{_METRICS}.graded:of_grader"
"""What makes a metric of a grader that a manifest has."""
GRADING = "adapterworks.builders.objectives.graders"
"""The module that says what an answer is worth to it."""
_GATES = "adapterworks.builders.data.gates"
_RECIPES = "adapterworks.builders.data.recipes"
_FORMATS = "adapterworks.builders.data.formats"
_OBJECTIVES = "adapterworks.builders.objectives"
_RULES = "adapterworks.builders.merging.rules"
_SUITES = "adapterworks.builders.evaluation.suites"
_TRACKERS = "adapterworks.builders.training.trackers"
_OPTIMIZERS = "adapterworks.builders.optimizers"
_SCHEDULES = "adapterworks.builders.schedules"
_EXPORTS = "adapterworks.builders.exports"

BUILTIN: dict[Kind, dict[str, str]] = {
    "methods": {
        "full": f"{_METHODS}.full:FULL",
        "lora": f"{_METHODS}.lora:LORA",
        "qlora": f"{_METHODS}.qlora:QLORA",
        "adalora": f"{_METHODS}.adalora:ADALORA",
        "dora": f"{_METHODS}.dora:DORA",
        "vera": f"{_METHODS}.vera:VERA",
        "vblora": f"{_METHODS}.vblora:VBLORA",
        "ia3": f"{_METHODS}.ia3:IA3",
        "prefix-tuning": f"{_METHODS}.prefix_tuning:PREFIX_TUNING",
        "prompt-tuning": f"{_METHODS}.prompt_tuning:PROMPT_TUNING",
        "p-tuning-v2": f"{_METHODS}.p_tuning_v2:P_TUNING_V2",
    },
    "objectives": {
        "sft": f"{_OBJECTIVES}.sft:OBJECTIVE",
        "dpo": f"{_OBJECTIVES}.dpo:OBJECTIVE",
        "orpo": f"{_OBJECTIVES}.orpo:OBJECTIVE",
        "kto": f"{_OBJECTIVES}.kto:OBJECTIVE",
        "simpo": f"{_OBJECTIVES}.simpo:OBJECTIVE",
        "reward": f"{_OBJECTIVES}.reward:OBJECTIVE",
        "prm": f"{_OBJECTIVES}.prm:OBJECTIVE",
        "grpo": f"{_OBJECTIVES}.grpo:OBJECTIVE",
        "rloo": f"{_OBJECTIVES}.rloo:OBJECTIVE",
        "ppo": f"{_OBJECTIVES}.ppo:OBJECTIVE",
        "distill": f"{_OBJECTIVES}.distill:OBJECTIVE",
        "sdft": f"{_OBJECTIVES}.sdft:OBJECTIVE",
    },
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
        "exact_number": f"{_METRICS}.numbers:EXACT_NUMBER",
        "json_schema": f"{_METRICS}.json_schema:JSON_SCHEMA",
        "unit_tests": f"{_METRICS}.unit_tests:UNIT_TESTS",
        "regex": f"{_METRICS}.forms:REGEX",
        "format_valid": f"{_METRICS}.forms:FORMAT_VALID",
        "api_valid": f"{_METRICS}.api:API_VALID",
        "hallucination": f"{_METRICS}.abstention:HALLUCINATION",
        "over_abstention": f"{_METRICS}.abstention:OVER_ABSTENTION",
        "win_rate": f"{_METRICS}.judged:WIN_RATE",
        "perplexity": f"{_METRICS}.likelihood:PERPLEXITY",
        "preference_accuracy": f"{_METRICS}.preference:PREFERENCE_ACCURACY",
        "preference_margin": f"{_METRICS}.preference:PREFERENCE_MARGIN",
        "verdict_accuracy": f"{_METRICS}.verdict:VERDICT_ACCURACY",
        "verdict_loss": f"{_METRICS}.verdict:VERDICT_LOSS",
        "step_accuracy": f"{_METRICS}.steps:STEP_ACCURACY",
        "verdict_calibration": f"{_METRICS}.verdict:VERDICT_CALIBRATION",
    },
    "formats": {
        "messages": f"{_FORMATS}.messages:FORMAT",
        "instruction": f"{_FORMATS}.instruction:FORMAT",
        "prompt-completion": f"{_FORMATS}.prompt_completion:FORMAT",
        "preference": f"{_FORMATS}.preference:FORMAT",
        "openai-preference": f"{_FORMATS}.openai_preference:FORMAT",
        "openai-reinforcement": f"{_FORMATS}.openai_reinforcement:FORMAT",
        "ranking": f"{_FORMATS}.ranking:FORMAT",
        "unpaired-preference": f"{_FORMATS}.unpaired_preference:FORMAT",
        "stepwise": f"{_FORMATS}.stepwise:FORMAT",
        "text": f"{_FORMATS}.text:FORMAT",
        "sharegpt": f"{_FORMATS}.sharegpt:FORMAT",
    },
    "data_gates": {
        "exact_duplicates": f"{_GATES}.exact_duplicates:GATE",
        "near_duplicates": f"{_GATES}.near_duplicates:GATE",
        "identical_pairs": f"{_GATES}.identical_pairs:GATE",
        "alike_pairs": f"{_GATES}.alike_pairs:GATE",
        "contradictory_pairs": f"{_GATES}.contradictory_pairs:GATE",
        "length_bias": f"{_GATES}.length_bias:GATE",
        "contradictions": f"{_GATES}.contradictions:GATE",
        "contamination": f"{_GATES}.contamination:GATE",
        "sealed": f"{_GATES}.sealed:GATE",
        "empty_supervision": f"{_GATES}.empty_supervision:GATE",
        "truncated_supervision": f"{_GATES}.truncated_supervision:GATE",
        "truncated_prompts": f"{_GATES}.truncated_prompts:GATE",
        "unlearnt_turns": f"{_GATES}.unlearnt_turns:GATE",
        "control_tokens": f"{_GATES}.control_tokens:GATE",
        "length_outliers": f"{_GATES}.length_outliers:GATE",
        "class_balance": f"{_GATES}.class_balance:GATE",
        "language": f"{_GATES}.language:GATE",
        "personal_data": f"{_GATES}.personal_data:GATE",
        "secrets": f"{_GATES}.secrets:GATE",
    },
    "quality_gates": {
        "gain": "adapterworks.builders.evaluation.gates.gain:GATE",
        "wins": "adapterworks.builders.evaluation.gates.wins:GATE",
        "limit": "adapterworks.builders.evaluation.gates.limit:GATE",
    },
    "recipes": {
        "icd-10-cm": f"{_RECIPES}.icd_10_cm:RECIPE",
        "icd-10-cm-excludes1": f"{_RECIPES}.icd_10_cm_excludes1:RECIPE",
        "botocore-kb": f"{_RECIPES}.botocore_kb:RECIPE",
        "botocore-passages": f"{_RECIPES}.botocore_passages:RECIPE",
        "stdlib-ruff": f"{_RECIPES}.stdlib_ruff:RECIPE",
        "general": f"{_RECIPES}.general:RECIPE",
        "bank-tickets": f"{_RECIPES}.bank_tickets:RECIPE",
    },
    "merge_rules": {
        "cat": f"{_RULES}.cat:RULE",
        "svd": f"{_RULES}.svd:RULE",
        "linear": f"{_RULES}.linear:RULE",
        "ties": f"{_RULES}.ties:ON_FACTORS",
        "dare_linear": f"{_RULES}.dare_linear:ON_FACTORS",
        "dare_ties": f"{_RULES}.dare_ties:ON_FACTORS",
        "magnitude_prune": f"{_RULES}.magnitude_prune:ON_FACTORS",
        "ties_svd": f"{_RULES}.ties:ON_DELTAS",
        "dare_linear_svd": f"{_RULES}.dare_linear:ON_DELTAS",
        "dare_ties_svd": f"{_RULES}.dare_ties:ON_DELTAS",
        "magnitude_prune_svd": f"{_RULES}.magnitude_prune:ON_DELTAS",
    },
    "retention_suites": {
        "hellaswag": f"{_SUITES}.hellaswag:SUITE",
        "truthfulqa": f"{_SUITES}.truthfulqa:SUITE",
        "gsm8k": f"{_SUITES}.gsm8k:SUITE",
    },
    "trackers": {
        "tensorboard": f"{_TRACKERS}.tensorboard:TRACKER",
        "trackio": f"{_TRACKERS}.trackio:TRACKER",
        "mlflow": f"{_TRACKERS}.mlflow:TRACKER",
        "wandb": f"{_TRACKERS}.wandb:TRACKER",
    },
    "exports": {
        "merged": f"{_EXPORTS}.merged:EXPORT",
        "peft": f"{_EXPORTS}.peft:EXPORT",
        "gguf": f"{_EXPORTS}.gguf_model:EXPORT",
        "gguf-lora": f"{_EXPORTS}.gguf_lora:EXPORT",
        "ollama": f"{_EXPORTS}.ollama:EXPORT",
        "onnx": f"{_EXPORTS}.onnx_model:EXPORT",
        "onnx-lora": f"{_EXPORTS}.onnx_lora:EXPORT",
    },
    "optimizers": {
        "adamw": f"{_OPTIMIZERS}.adamw:OPTIMIZER",
        "adamw-8bit": f"{_OPTIMIZERS}.adamw_8bit:OPTIMIZER",
        "paged-adamw-8bit": f"{_OPTIMIZERS}.paged_adamw_8bit:OPTIMIZER",
        "adafactor": f"{_OPTIMIZERS}.adafactor:OPTIMIZER",
        "muon": f"{_OPTIMIZERS}.muon:OPTIMIZER",
        "schedule-free": f"{_OPTIMIZERS}.schedule_free:OPTIMIZER",
    },
    "schedules": {
        "cosine": f"{_SCHEDULES}.cosine:SCHEDULE",
        "linear": f"{_SCHEDULES}.linear:SCHEDULE",
        "constant": f"{_SCHEDULES}.constant:SCHEDULE",
        "wsd": f"{_SCHEDULES}.wsd:SCHEDULE",
    },
}

# Kinds of which a plain function is enough: what makes an entry of it, `(name, object) -> entry`.
# It refuses (InvalidInput) what is neither an entry nor such a function.
MADE_BY: dict[Kind, str] = {
    "metrics": f"{_METRICS}.function:as_metric",
    "data_gates": f"{_GATES}.function:as_gate",
}

# What every entry of a kind is an instance of.
TYPES: dict[Kind, str] = {
    "methods": f"{_METHODS}.technique:Technique",
    "objectives": f"{_OBJECTIVES}.objective:Objective",
    "metrics": f"{_METRICS}.metric:Metric",
    "data_gates": f"{_GATES}.gate:Gate",
    "quality_gates": "adapterworks.builders.evaluation.gates.gate:GateKind",
    "formats": f"{_FORMATS}.format:RowFormat",
    "recipes": f"{_RECIPES}.recipe:Recipe",
    "merge_rules": f"{_RULES}.rule:Rule",
    "retention_suites": f"{_SUITES}.suite:Suite",
    "trackers": f"{_TRACKERS}.tracker:Tracker",
    "exports": f"{_EXPORTS}.export:Export",
    "optimizers": f"{_OPTIMIZERS}.optimizer:Optimizer",
    "schedules": f"{_SCHEDULES}.schedule:Schedule",
}
