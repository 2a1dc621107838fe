"""Which stage of a build reads a key of the manifest, or what was added to a table.

Every key of the manifest has a decision here; a test walks the manifest and fails for a key without
one. A key that a stage does not read does not move its digest (`digests.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from adapterworks.manifests.builtin import Kind

Part = Literal["train", "resolved", "convert", "ask", "evaluate", "publish", "nothing"]

# The first stage that reads a key. `resolved`: the training reads what the plan makes of it (steps,
# learning rate, precision, …), so that a default that is written out changes nothing. Keys of
# `[data]` are `publish`: the training reads encoded rows and the evaluation test rows, which are
# digested themselves. `nothing`: it changes neither weights nor scores nor names.
DECISIONS: dict[str, Part] = {
    "adapter.name": "publish",
    "adapter.description": "publish",
    "adapter.license": "publish",
    "adapter.tags": "publish",
    "adapter.tenant": "publish",  # which rows it may have; what it may not is refused
    "adapter.language": "publish",  # a data gate reads it; what it drops is missing in the rows
    "base.model": "publish",  # its name; its bytes are the base's digest
    "base.quantization": "train",
    "base.double_quantization": "train",
    "base.chat_template": "publish",  # its name; its text is in the base's digest
    "base.template_arguments": "publish",  # as the template that they are written into
    "method": "train",
    "data.train": "publish",
    "data.validation": "publish",
    "data.test": "publish",
    "data.test_share": "publish",
    "data.format": "publish",
    "data.system": "publish",
    "data.columns": "publish",
    "data.ignore": "publish",
    "data.tenants": "publish",
    "data.limit": "publish",
    "data.limit_validation": "publish",
    "data.limit_test": "publish",
    "data.validation_share": "publish",
    "data.mix": "publish",
    "data.replay": "publish",
    "data.augment": "publish",
    "data.gates": "publish",
    "objective": "train",
    "objective.reference": "publish",  # its name; which release it is is digested for the training
    "objective.reward_release": "publish",  # its name; its digest is the training's
    "objective.teacher": "publish",  # as them
    "objective.teacher_base": "publish",
    "objective.judge.key_env": "nothing",  # who the judge is is digested, not how it is reached
    "objective.judge.max_tokens": "nothing",
    "objective.judge.parallel": "nothing",
    "objective.max_start_distance": "publish",  # refuses or not; what is trained is the same
    "objective.max_mismatch": "publish",  # the same
    "objective.generation_batch_size": "nothing",  # as the micro batch
    "objective.alarms": "publish",  # stops or not; what is trained until then is the same
    "start": "publish",  # its name; its digest is the training's
    "train.epochs": "resolved",
    "train.max_steps": "resolved",
    "train.learning_rate": "resolved",
    "train.batch_size": "train",
    "train.micro_batch_size": "nothing",  # the order of a sum: see digests.py
    "train.max_length": "ask",  # cuts encoded rows, which are digested, and likelihoods
    "train.on_overflow": "publish",  # which rows there are, and they are digested
    "train.loss_on": "publish",  # the labels, which are digested
    "train.warmup_ratio": "resolved",
    "train.schedule": "train",
    "train.learning_rate_floor": "train",
    "train.decay_ratio": "train",
    "train.neftune_alpha": "train",
    "train.quantization_aware": "train",
    "train.label_smoothing": "train",
    "train.anchor": "train",
    "train.weight_decay": "train",
    "train.max_grad_norm": "train",
    "train.optimizer": "train",
    "train.precision": "resolved",
    "train.attention": "resolved",  # only another one than the base is loaded with
    "train.deterministic": "nothing",  # in which order, not what
    "train.gradient_checkpointing": "nothing",
    "train.packing": "train",
    "train.packing_strategy": "train",  # with the length that is filled, which is `resolved`
    "train.group_by_length": "train",
    "train.share_prefix": "nothing",
    "train.evaluations": "resolved",
    "train.save_every": "nothing",  # a checkpoint changes nothing of what comes after it
    "train.early_stopping": "train",
    "train.seed": "train",
    "train.trackers": "nothing",
    "train.tracking": "nothing",
    "train.processes": "nothing",  # as a micro batch
    "train.sharding": "nothing",  # where numbers are kept, not which
    "train.accelerate_config": "publish",  # its name; its bytes are digested for the training
    "evaluate.graders": "evaluate",
    "evaluate.metrics": "evaluate",
    "evaluate.gates": "evaluate",
    "evaluate.retention.on": "ask",
    "evaluate.retention.suites": "ask",
    "evaluate.retention.limit": "ask",
    "evaluate.retention.ancestors": "ask",
    "evaluate.retention.max_ancestor_loss": "evaluate",
    "evaluate.retention.max_perplexity_increase": "evaluate",
    "evaluate.retention.max_suite_loss": "evaluate",
    "evaluate.safety.on": "ask",
    "evaluate.safety.limit": "ask",
    "evaluate.safety.max_new_tokens": "ask",
    "evaluate.safety.max_refusal_loss": "evaluate",
    "evaluate.safety.max_over_refusal": "evaluate",
    "evaluate.budget_confidence": "evaluate",
    "evaluate.samples": "ask",
    "evaluate.judge": "evaluate",
    "evaluate.judge.key_env": "nothing",  # as of `objective.judge`
    "evaluate.judge.max_tokens": "nothing",
    "evaluate.judge.parallel": "nothing",
    "evaluate.baseline": "ask",
    "evaluate.max_new_tokens": "ask",
    "evaluate.batch_size": "nothing",  # as a micro batch
    "evaluate.engine": "ask",  # as declared: members answer alike; the report says which did
    "evaluate.bootstrap_samples": "evaluate",
    "publish.alias": "publish",
    "publish.hub": "publish",
    "publish.private": "publish",
    "publish.withhold": "publish",
    "publish.include": "publish",
    "serve.pinned": "publish",
    "serve.conversion_rank": "convert",
    "serve.max_conversion_error": "convert",
    "resources.gpus": "nothing",  # where it is trained, and on how much
    "resources.nodes": "nothing",
    "resources.processes": "nothing",
    "resources.memory": "nothing",
    "resources.time": "nothing",
}

# Tables that are one value: none of their keys has a decision of its own.
WHOLE = {key for key in DECISIONS if not any(k.startswith(f"{key}.") for k in DECISIONS)}

# The first stage that runs what a distribution or a user's file adds to a table: it is covered by
# the bytes of its source. What is built in is covered by the numbers of `digests.py`. What only
# makes rows or tells of a build is as the keys of `[data]`; metrics have their digests built in or
# not.
ADDED: dict[Kind, Part] = {
    "methods": "train",
    "objectives": "train",
    "optimizers": "train",
    "schedules": "train",
    "retention_suites": "ask",
    "quality_gates": "evaluate",
}


def decision(key: str) -> Part | None:
    """Which part reads a key of the manifest (`train.epochs`); None if nobody decided."""
    while key:
        if key in DECISIONS:
            return DECISIONS[key]
        key = key.rpartition(".")[0]
    return None


def leaves(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values of nested tables; a table that has a decision for the whole is one value."""
    for name, value in values.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and key not in WHOLE:
            yield from leaves(value, f"{key}.")
        else:
            yield key, value
