"""Axolotl's keys: what each becomes, or why it cannot (`axolotl/utils/schemas/*.py`, 0.19)."""

from __future__ import annotations

import re
from typing import Any

from adapterworks.manifests.importing.common import HARDWARE, OURS, REPORTS, TRAINING
from adapterworks.manifests.importing.conversion import Idle, Not, Rule, To, positive, real, switch

TOKENS = "new tokens cannot be served beside a base"
_START = "a training starts from the base"
_FULL = "modules trained in full beside a LoRA cannot be served"


def start(value: Any) -> str:
    """What factors start from; PEFT's `true` is Kaiming's, and its `pissa_niter_4` a PiSSA."""
    if value is True:
        return "kaiming"
    name = str(value).lower()
    if re.fullmatch(r"pissa(_niter_\d+)?", name):
        return "pissa"
    if name not in ("gaussian", "orthogonal", "olora", "eva"):
        raise ValueError(f"factors do not start from `{value}` here")
    return name


def checkpointing(value: Any) -> bool:
    """Whether activations are computed again; where they are kept meanwhile is no matter."""
    return value in ("offload", "offload_disk", "unsloth") or switch(value)


RULES: dict[str, Rule] = {
    **TRAINING,
    "strict": Idle("every key is looked at"),
    "model_type": Idle("the base's configuration says it"),
    "tokenizer_type": Idle("the base's configuration says it"),
    "tokenizer_use_fast": Idle("tokenizers are fast ones"),
    "is_llama_derived_model": Idle("the base's configuration says it"),
    "is_mistral_derived_model": Idle("the base's configuration says it"),
    "is_qwen_derived_model": Idle("the base's configuration says it"),
    "is_falcon_derived_model": Idle("the base's configuration says it"),
    "dataset_prepared_path": Idle("caches are named by what they hold"),
    "dataset_processes": Idle(HARDWARE),
    "dataset_num_proc": Idle(HARDWARE),
    "dataset_keep_in_memory": Idle(HARDWARE),
    "shuffle_merged_datasets": Not("rows are shuffled by the seed", (True,)),
    "dataset_exact_deduplication": Idle("the gate `exact_duplicates` drops them"),
    "sequence_len": To("train.max_length", positive),
    "max_steps": To("train.max_steps", positive, (-1, 0)),
    "seed": To("train.seed"),
    "weight_decay": To("train.weight_decay", real),
    "max_grad_norm": To("train.max_grad_norm", real),
    "group_by_length": To("train.group_by_length", switch),
    "gradient_checkpointing": To("train.gradient_checkpointing", checkpointing),
    "gradient_checkpointing_kwargs": Idle(HARDWARE),
    "activation_offloading": Idle(HARDWARE),
    "cut_cross_entropy": Idle(HARDWARE),
    "tiled_mlp": Idle(HARDWARE),
    "early_stopping_patience": To("train.early_stopping", positive),
    "hub_model_id": To("publish.hub", str),
    "hub_strategy": Idle("`adapters push` pushes, privately"),
    "default_system_message": To("data.system", str),
    "saves_per_epoch": Idle(OURS),
    "evals_per_epoch": Idle("`train.evaluations` says how often"),
    "pad_to_sequence_len": Idle(HARDWARE),
    "pad_to_multiple_of": Idle(HARDWARE),
    "eval_sample_packing": Idle(HARDWARE),
    "sample_packing_eff_est": Idle(HARDWARE),
    "total_num_tokens": Idle(HARDWARE),
    "flash_attention": Idle(HARDWARE),
    "sdp_attention": Idle(HARDWARE),
    "xformers_attention": Idle(HARDWARE),
    "flex_attention": Idle(HARDWARE),
    "eager_attention": Idle(HARDWARE),
    "attn_implementation": Idle(HARDWARE),
    "lora_mlp_kernel": Idle(HARDWARE),
    "lora_qkv_kernel": Idle(HARDWARE),
    "lora_o_kernel": Idle(HARDWARE),
    "lora_fan_in_fan_out": Not("the base's linears say it"),
    "liger_rope": Idle(HARDWARE),
    "liger_rms_norm": Idle(HARDWARE),
    "liger_glu_activation": Idle(HARDWARE),
    "liger_layer_norm": Idle(HARDWARE),
    "liger_fused_linear_cross_entropy": Idle(HARDWARE),
    "local_rank": Idle(HARDWARE),
    "debug": Idle(REPORTS),
    "wandb_project": Idle(REPORTS),
    "wandb_entity": Idle(REPORTS),
    "wandb_watch": Idle(REPORTS),
    "wandb_name": Idle(REPORTS),
    "wandb_run_id": Idle(REPORTS),
    "wandb_log_model": Idle(REPORTS),
    "mlflow_tracking_uri": Idle(REPORTS),
    "mlflow_experiment_name": Idle(REPORTS),
    "loss_watchdog_threshold": Idle("a training that diverges is stopped"),
    "loss_watchdog_patience": Idle("a training that diverges is stopped"),
    "rl": Not("preference and reinforcement learning are not imported: write `[objective]`"),
    "reward_model": Not("preference and reinforcement learning are not imported"),
    "process_reward_model": Not("preference and reinforcement learning are not imported"),
    "tokens": Not(TOKENS),
    "resize_token_embeddings_to_32x": Not(TOKENS),
    "added_tokens_overrides": Not(TOKENS),
    "lora_model_dir": Not(_START),
    "auto_resume_from_checkpoints": Idle("an interrupted build goes on when it is started again"),
    "lora_modules_to_save": Not(_FULL),
    "unfrozen_parameters": Not(_FULL),
    "lora_rank_pattern": To("method.rank_pattern"),
    "lora_alpha_pattern": To("method.alpha_pattern"),
    "peft_layers_to_transform": To("method.layers_to_transform"),
    "peft_init_lora_weights": To("method.init", start),
    "lora_target_parameters": Not("a LoRA on parameters that are no linears cannot be served"),
    "peft_layers_pattern": Not("layers are named by their numbers"),
    "loftq_config": Not("factors start as in the paper"),
    "peft": Not("factors start as in the paper"),
    "loraplus_lr_ratio": To("method.learning_rate_ratio", real),
    "relora": Not("ReLoRA is not there"),
    "gptq": Not("bases are NF4 or not quantized"),
    "load_in_8bit": Not("bases are NF4 or not quantized"),
    "fp8": Not("training in FP8 is not there"),
    "qat": Not("training for a quantization is not there"),
    "quantization": Not("training for a quantization is not there"),
    "lr_groups": Not("one learning rate for all"),
    "embedding_lr": Not("one learning rate for all"),
    "cosine_min_lr_ratio": To("train.learning_rate_floor", real, (0,)),
    "adam_beta1": Not("AdamW's β are 0.9 and 0.999", (0.9,)),
    "adam_beta2": Not("AdamW's β are 0.9 and 0.999", (0.999,)),
    "adam_epsilon": Not("AdamW's ε is 1e-8", (1e-8, "1e-8")),
    "pretraining_dataset": Not("streamed pre-training is not there; name its rows in `datasets`"),
    "chat_template_jinja": Not("rows are rendered by the base's own template"),
    "eot_tokens": Not("rows end as the base's template ends them"),
    "train_on_eos": Not("the end of an answer is learnt", ("turn",)),
    "sequence_parallel_degree": Not("a sequence is computed in one place", (0, 1)),
    "context_parallel_size": Not("a sequence is computed in one place", (0, 1)),
    "tensor_parallel_size": Not("a layer is computed in one place", (0, 1)),
    "use_pose": Not("the base's positions are as they are"),
    "use_ray": Not("builds run here"),
}
# What `axolotl.py` decides of several keys together.
JOINT = frozenset(
    [
        "base_model",
        "revision_of_model",
        "adapter",
        "lora_r",
        "lora_alpha",
        "lora_dropout",
        "lora_target_modules",
        "lora_target_linear",
        "peft_use_rslora",
        "peft_use_dora",
        "load_in_4bit",
        "datasets",
        "test_datasets",
        "val_set_size",
        "sample_packing",
        "excess_length_strategy",
        "micro_batch_size",
        "gradient_accumulation_steps",
        "batch_size",
        "num_epochs",
        "learning_rate",
        "lr_scheduler",
        "warmup_steps",
        "warmup_ratio",
        "optimizer",
        "bf16",
        "bfloat16",
        "fp16",
        "float16",
        "train_on_inputs",
        "chat_template",
        "special_tokens",
        "plugins",
        "use_wandb",
        "use_mlflow",
        "use_tensorboard",
        "use_trackio",
    ]
)
