"""The values an NF4 base gives to training, stored as an ordinary dense checkpoint.

bitsandbytes computes with `dequantize(quantize(W))`; a dense checkpoint of those values gives the
same numbers in any engine, and on a CPU at about three times the speed of the 4-bit kernels there.
(QLoRA: Dettmers et al. 2023; NF4 with blocks of 64 and, by default, quantized block constants.)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.bases.complete import beside_weights
from adapterworks.registry.bases.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch


def nf4_config(double_quantization: bool, compute: torch.dtype) -> Any:
    """The `BitsAndBytesConfig` of every NF4 base here; training must load with this one."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=compute,
    )


def load_nf4(
    checkpoint: Path,
    *,
    double_quantization: bool,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
) -> Any:
    """Load a dense checkpoint quantized to NF4.

    Wherever it will compute, it is quantized by the CPU from float32, so that the 4-bit codes are
    the same on every machine (a checkpoint that is rounded to bfloat16 first has other codes for
    0.9 % of its weights); on a GPU only the finished codes are moved. About 30 s for each billion
    weights on one core.

    Args:
        checkpoint: dense, in safetensors.
        dtype: in which it multiplies, and holds what is not quantized; float32 if not given.
        device: where it computes.
    """
    quiet_libraries()
    import bitsandbytes
    import torch

    model = load_causal_lm(
        checkpoint,
        quantization_config=nf4_config(double_quantization, dtype or torch.float32),
        dtype=torch.float32,
        device_map={"": "cpu"},
    )
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # With AVX512-BF16 it would repack the weights in evaluation mode and multiply in
            # bfloat16, which is not what training computed.
            module.support_avx512bf16_for_cpu = False
            # De-quantized in float32 and rounded once, to what is multiplied.
            module.weight.quant_state.dtype = dtype or torch.float32
    _let_go_of_files(model, dtype or torch.float32)
    return model.to(device) if device != "cpu" else model


def _let_go_of_files(model: Any, dtype: torch.dtype) -> None:
    """Copy what was not quantized out of the mapped checkpoint, so that the mapping ends.

    Loading leaves those tensors as views of the file; one of them keeps all of the dense weights
    mapped, and resident, beside their 4-bit copies (540 MB for a base of 135 M parameters).
    """
    import bitsandbytes
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if not isinstance(parameter, bitsandbytes.nn.Params4bit):
                parameter.data = parameter.data.to(dtype, copy=True)


def write_dequantized(checkpoint: Path, target: Path, *, double_quantization: bool) -> None:
    """Write `checkpoint` to `target` with every quantized weight replaced by its NF4 value."""
    import bitsandbytes
    import torch

    quantized = load_nf4(checkpoint, double_quantization=double_quantization)
    dense = load_causal_lm(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        for name, module in quantized.named_modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                weight = dense.get_submodule(name).weight
                values = bitsandbytes.functional.dequantize_4bit(
                    module.weight.data, module.weight.quant_state
                )
                weight.copy_(values.to(weight.device, weight.dtype).reshape(weight.shape))
    dense.save_pretrained(target)
    for path in beside_weights(checkpoint):
        if not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
