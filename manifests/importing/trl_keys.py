"""TRL's keys: what each becomes, or why it cannot.

They are those of its configurations (`trl/trainer/*_config.py`), of `ScriptArguments` and
`ModelConfig` (1.16) and of Hugging Face's `TrainingArguments` (transformers 5.19).
"""

from __future__ import annotations

from adapterworks.manifests.importing.common import HARDWARE, OURS, REPORTS, TRAINING, trackers
from adapterworks.manifests.importing.conversion import Idle, Not, Rule, To, positive, real, switch

_TEMPLATE = "rows end as the base's template ends them"
_PUSH = "`adapters push` pushes, privately"
_ADAM = "AdamW's β are 0.9 and 0.999, its ε is 1e-8"
_EXPERTS = "a loss on experts is not there"
_MOVES = "the reference does not move while it is trained"

# Of `TrainingArguments`, which other programs do not pass on.
_ARGUMENTS: dict[str, Rule] = {
    "accelerator_config": Idle(HARDWARE),
    "adam_beta1": Not(_ADAM, (0.9,)),
    "adam_beta2": Not(_ADAM, (0.999,)),
    "adam_epsilon": Not(_ADAM, (1e-8, "1e-8")),
    "auto_find_batch_size": Idle("`train.micro_batch_size` is found by the plan"),
    "average_tokens_across_devices": Not("a step's mean is over its tokens", (True,)),
    "batch_eval_metrics": Idle(REPORTS),
    "bf16_full_eval": Idle(HARDWARE),
    "data_seed": Not("one seed for everything: `train.seed`", ()),
    "dataloader_drop_last": Not("every row is learnt"),
    "disable_tqdm": Idle(REPORTS),
    "do_eval": Idle("a build evaluates"),
    "do_predict": Idle("a build evaluates"),
    "do_train": Idle("a build trains"),
    "enable_jit_checkpoint": Idle(OURS),
    "eval_accumulation_steps": Idle(HARDWARE),
    "eval_delay": Idle("`train.evaluations` says how often"),
    "eval_on_start": Idle("the base is evaluated as well"),
    "fp16_full_eval": Idle(HARDWARE),
    "full_determinism": Idle("the same plan gives the same weights on the same machine"),
    "gradient_checkpointing_kwargs": Idle(HARDWARE),
    "greater_is_better": Idle("the best checkpoint has the least validation loss"),
    "group_by_length": To("train.group_by_length", switch),
    "hub_model_id": To("publish.hub", str),
    "hub_token": Idle("the Hub's token is in the environment, never in a manifest"),
    "ignore_data_skip": Not("a build goes on with the row after the last one"),
    "include_num_input_tokens_seen": Idle(REPORTS),
    "lr_scheduler_kwargs": Not("schedules are chosen by `train.schedule` and its floor"),
    "max_grad_norm": To("train.max_grad_norm", real),
    "max_steps": To("train.max_steps", positive, (-1, 0)),
    "metric_for_best_model": Not("the best checkpoint has the least validation loss",
                                 ("loss", "eval_loss")),
    "optim_args": Not("optimizers have their defaults"),
    "optim_target_modules": Not("every trained parameter has the same optimizer"),
    "parallelism_config": Not("say how weights are divided in `train.sharding`"),
    "prediction_loss_only": Idle(REPORTS),
    "push_to_hub": Idle(_PUSH),
    "report_to": To("train.trackers", trackers),
    "seed": To("train.seed"),
    "train_sampling_strategy": Not("rows are shuffled by the seed", ("random", "group_by_length")),
    "use_cpu": Idle(HARDWARE),
    "weight_decay": To("train.weight_decay", real),
}  # fmt: skip
_REPORTED = (
    "debug", "eval_do_concat_batches", "eval_use_gather_object", "include_for_metrics",
    "label_names", "log_level", "log_level_replica", "log_on_each_node", "logging_first_step",
    "logging_nan_inf_filter", "logging_strategy", "project", "skip_memory_metrics",
    "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
)  # fmt: skip
_MACHINE = (
    "activation_offloading", "attn_implementation", "bnb_4bit_quant_storage",
    "dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_persistent_workers",
    "dataset_num_proc", "dataset_streaming", "ddp_backend", "ddp_broadcast_buffers",
    "ddp_bucket_cap_mb", "ddp_static_graph", "eval_packing",
    "length_column_name", "liger_kernel_config", "local_rank", "pad_to_multiple_of",
    "padding_free", "precompute_ref_batch_size", "precompute_ref_log_probs", "streaming",
    "torch_compile_backend", "torch_compile_mode", "torch_empty_cache_steps", "use_cache",
)  # fmt: skip
_HUB = ("hub_always_push", "hub_private_repo", "hub_revision", "hub_strategy")

RULES: dict[str, Rule] = {
    **TRAINING,
    **_ARGUMENTS,
    **dict.fromkeys(_REPORTED, Idle(REPORTS)),
    **dict.fromkeys(_MACHINE, Idle(HARDWARE)),
    **dict.fromkeys(_HUB, Idle(_PUSH)),
    "restore_callback_states_from_checkpoint": Idle(OURS),
    "save_on_each_node": Idle(OURS),
    "accelerate_config": Not("say how many processes there are in `train.processes`"),
    "chat_template_path": To("base.chat_template", str),
    "dataset_kwargs": Not("rows are rendered by the base's own template"),
    "dtype": Idle("the base is held as it was prepared"),
    "eos_token": Not(_TEMPLATE),
    "f_alpha_divergence_coef": Idle("it is of a divergence that is refused"),
    "discopop_tau": Idle("it is of a loss that is refused"),
    "f_divergence_type": Not("the divergence is the reverse one", ("reverse_kl",)),
    "ignore_bias_buffers": Idle(HARDWARE),
    "ld_alpha": Not("this part of the loss is not there", (1.0,)),
    "load_in_8bit": Not("bases are NF4 or not quantized"),
    "lora_modules_to_save": Not("modules trained in full beside a LoRA cannot be served"),
    "lora_target_parameters": Not("a LoRA on parameters that are no linears cannot be served"),
    "lora_task_type": Idle("the objective says it"),
    "model_init_kwargs": Not("the base is loaded as it was prepared"),
    "pad_token": Idle("padding is never learnt"),
    "ref_model_mixup_alpha": Idle("it is of a reference that moves"),
    "ref_model_sync_steps": Idle("it is of a reference that moves"),
    "router_aux_loss_coef": Not(_EXPERTS),
    "shuffle_dataset": Idle("rows are shuffled by the seed"),
    "sync_ref_model": Not(_MOVES),
    "test_split_size": To("data.validation_share", real),
    "use_weighting": Not("every pair counts the same"),
}
# What `trl.py` decides of several keys together.
JOINT = frozenset(
    [
        "assistant_only_loss",
        "beta",
        "bf16",
        "bnb_4bit_quant_type",
        "center_rewards_coefficient",
        "completion_only_loss",
        "dataset_config",
        "dataset_name",
        "dataset_test_split",
        "dataset_text_field",
        "dataset_train_split",
        "datasets",
        "desirable_weight",
        "disable_dropout",
        "fp16",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "label_smoothing",
        "learning_rate",
        "load_in_4bit",
        "lora_alpha",
        "lora_dropout",
        "lora_r",
        "lora_target_modules",
        "loss_type",
        "loss_weights",
        "lr_scheduler_type",
        "max_length",
        "model_name_or_path",
        "model_revision",
        "num_train_epochs",
        "optim",
        "packing",
        "packing_strategy",
        "per_device_train_batch_size",
        "truncation_mode",
        "undesirable_weight",
        "use_bnb_nested_quant",
        "use_dora",
        "use_peft",
        "use_rslora",
        "warmup_ratio",
        "warmup_steps",
    ]
)
