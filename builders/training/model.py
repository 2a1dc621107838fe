"""The model that is trained: base, quantization, method, precision.

Invariant: nothing here changes the base's values: NF4 weights are those `Base.served` holds
de-quantized, and every other base is loaded as it is.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.dropout import disable_dropout
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.optimizers.optimizer import Group
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.fake_quantization import round_weights
from adapterworks.builders.training.start import continue_from
from adapterworks.builders.training.state import load_trainable, trained
from adapterworks.builders.training.tensor_file import Tensors, write_tensors
from adapterworks.builders.training.value_head import head_rates, without_value_head
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.causal_lm import use_attention
from adapterworks.registry.bases.quiet import quiet_libraries
from adapterworks.registry.releases.base_names import public_name

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(plan: Plan) -> torch.dtype:
    """Of frozen weights."""
    return _DTYPES[plan.precision]


def load_base(checkpoint: Path, plan: Plan, device: str | None = None) -> nn.Module:
    """The base, frozen, as the method loads it, with the attention that the plan chose.

    Args:
        checkpoint: what the method's `checkpoint` names of the base.
        device: the plan's if not given.
    """
    quiet_libraries()
    manifest = plan.manifest
    technique = METHODS[manifest.method.kind]
    model = technique.load(checkpoint, manifest.base, dtype_of(plan), device or plan.device)
    if plan.attention:
        use_attention(model, plan.attention)
    model.requires_grad_(False)
    return model


def build_model(
    checkpoint: Path, plan: Plan, start: Path | None = None, device: str | None = None
) -> nn.Module:
    """Base and method, in training mode, seeded: equal plans give equal initial weights.

    Args:
        checkpoint: the base's folder; of a whole model that is continued, the release's.
        start: the folder of the adapter that is continued, if one is.
        device: the plan's if not given.
    """
    torch.manual_seed(plan.manifest.train.seed)
    base = load_base(checkpoint, plan, device)
    if objective_of(plan.manifest).compares:
        disable_dropout(base)
    if plan.manifest.train.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    method = plan.manifest.method
    technique = METHODS[method.kind]
    model = technique.attach(base, method, plan.steps)
    if start is not None:
        continue_from(model, start, partial(technique.grown, table=method, folder=start))
    add_noise(model, plan.manifest.train.neftune_alpha)
    round_weights(model, plan.manifest.train.quantization_aware)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if counted != plan.trainable:
        raise Refused(
            f"planned {plan.trainable:,} trained parameters, and this base with this method has "
            f"{counted:,}",
            hint="name the modules to adapt in `method.target_modules`, or choose another method",
        )
    model.train()
    return model


def add_noise(model: nn.Module, alpha: float | None) -> None:
    """NEFTune (Jain et al. 2023, arXiv:2310.05914): while training, every number of the embeddings
    gets uniform noise in ±α/√(length × width), the length as transformers counts it, padding too.
    """
    if alpha is None:
        return

    def noisy(module: nn.Module, given: Any, embedded: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return embedded
        size = alpha / (embedded.shape[1] * embedded.shape[2]) ** 0.5
        return embedded + torch.zeros_like(embedded).uniform_(-size, size)

    whole: Any = model
    whole.get_input_embeddings().register_forward_hook(noisy)


def make_optimizer(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """The plan's optimizer over the trained parameters, in the order of their names' appearance."""
    manifest = plan.manifest
    technique = METHODS[manifest.method.kind]
    optimizer = OPTIMIZERS[manifest.train.optimizer]
    rates = technique.rates(model, manifest.method) | head_rates(model)
    outer = _outer(model)
    found: dict[tuple[float, bool], Group] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            times = rates.get(name, 1.0)
            matrix = optimizer.matrices and parameter.dim() == 2 and parameter not in outer
            group = found.setdefault((times, matrix), Group([], [], times, matrix))
            group.parameters.append(parameter)
            group.names.append(name)
    return optimizer.make([*found.values()], plan.learning_rate, manifest.train.weight_decay)


def _outer(model: Any) -> set[nn.Parameter]:
    """Embeddings and the output projection, where a model has them."""
    ends = ("get_input_embeddings", "get_output_embeddings")
    modules = [getattr(model, end)() for end in ends if hasattr(model, end)]
    return {parameter for module in modules if module for parameter in module.parameters()}


def gathered_model(
    part: nn.Module,
    plan: Plan,
    checkpoint: Path,
    start: Path | None,
    folder: Path,
    accelerator: Any,
) -> nn.Module | None:
    """The model with all its weights, of one that is trained in parts; in the first process alone.

    Every process calls it, since each gives its part, through a file in `folder`.

    Args:
        part: this process's.
        checkpoint, start: what the model was built from, as for `build_model`.
    """
    parts, first = folder / "whole.safetensors", accelerator.is_main_process
    write_tensors(parts, trained(part), here=first)
    if not first:
        return None
    model = build_model(checkpoint, plan, start, device="cpu")
    load_trainable(model, Tensors(parts))
    parts.unlink()
    return model


def save_adapter(model: nn.Module, folder: Path, plan: Plan) -> None:
    """Write what was trained: PEFT's adapter, or the whole checkpoint."""
    technique = METHODS[plan.manifest.method.kind]
    technique.before_save(model)
    with without_value_head(model):
        technique.save(model, folder, plan.base.model)
    config = folder / "adapter_config.json"
    if config.exists():
        # A path of this machine has no place in a release. (Set before saving, PEFT would ask the
        # Hub for the base under this name.)
        values = json.loads(config.read_text(encoding="utf-8"))
        values["base_model_name_or_path"] = public_name(plan.base.model)
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # PEFT writes a model card of its own; the release has ours.
    (folder / "README.md").unlink(missing_ok=True)
