"""The values an NF4 base gives to training, stored as an ordinary dense checkpoint.

bitsandbytes computes with `dequantize(quantize(W))`; a dense checkpoint of those values gives the
same numbers in any engine, and on a CPU at about three times the speed of the 4-bit kernels there.
(QLoRA: Dettmers et al. 2023; NF4 with blocks of 64 and, by default, quantized block constants.)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from adapterworks.registry.bases.quiet import quiet_libraries


def nf4_config(double_quantization: bool) -> Any:
    """The `BitsAndBytesConfig` of every NF4 base here; training must load with this one."""
    import torch
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=compute,
    )


def load_nf4(checkpoint: Path, *, double_quantization: bool) -> Any:
    """Load a dense checkpoint quantized to NF4, on the GPU if there is one.

    On CPUs with AVX512-BF16, bitsandbytes repacks the weights in evaluation mode and multiplies in
    bfloat16, which is not what training computed; that path is switched off here.
    """
    quiet_libraries()
    import bitsandbytes
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        checkpoint,
        quantization_config=nf4_config(double_quantization),
        dtype=torch.float32 if not torch.cuda.is_available() else torch.bfloat16,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
    )
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
    _let_go_of_files(model)
    return model


def _let_go_of_files(model: Any) -> None:
    """Copy what was not quantized out of the mapped checkpoint, so that the mapping ends.

    Loading leaves those tensors as views of the file; one of them keeps all of the dense weights
    mapped, and resident, beside their 4-bit copies (540 MB for a base of 135 M parameters).
    """
    import bitsandbytes
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if not isinstance(parameter, bitsandbytes.nn.Params4bit):
                parameter.data = parameter.data.clone()


def write_dequantized(checkpoint: Path, target: Path, *, double_quantization: bool) -> None:
    """Write `checkpoint` to `target` with every quantized weight replaced by its NF4 value."""
    import bitsandbytes
    import torch
    from transformers import AutoModelForCausalLM

    quantized = load_nf4(checkpoint, double_quantization=double_quantization)
    dense = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        for name, module in quantized.named_modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                weight = dense.get_submodule(name).weight
                values = bitsandbytes.functional.dequantize_4bit(
                    module.weight.data, module.weight.quant_state
                )
                weight.copy_(values.to(weight.device, weight.dtype).reshape(weight.shape))
    dense.save_pretrained(target)
    for path in checkpoint.iterdir():
        if path.is_file() and not (target / path.name).exists() and path.suffix != ".safetensors":
            shutil.copyfile(path, target / path.name)
