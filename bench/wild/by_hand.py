"""Folders as savers besides PEFT leave them, made of a plain adapter by rewriting its files.

Shapes: Unsloth's and old PEFT's configurations, prefixes of wrappers (`torch.compile`, doubled or
no prefix, adapter names in keys), shards, a `Trainer`'s checkpoint, DeepSpeed's, FSDP's, MLX's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."


def _config(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG
    table = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in table.items() if v != "gone"}, indent=2))


def _renamed(folder: Path, rename: Callable[[str], str]) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({rename(k): v.clone() for k, v in tensors.items()}, folder / WEIGHTS)


# As Unsloth writes `target_modules`.
_EXPRESSION = (
    r"(?:.*?(?:language|text).*?(?:self_attn).*?(?:q_proj|v_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn)\.(?:(?:q_proj|v_proj)))"
)


def _unsloth(folder: Path) -> None:
    mapping = {"base_model_class": "LlamaForCausalLM",
               "parent_library": "transformers.models.llama.modeling_llama",
               "unsloth_fixed": True}  # fmt: skip
    _config(folder, auto_mapping=mapping, revision=None, task_type=None,
            target_modules=_EXPRESSION)  # fmt: skip


def _oldest(folder: Path) -> None:
    """PEFT 0.2: keys that are gone, nulls for defaults, none of the newer ones."""
    table = json.loads((folder / CONFIG).read_text())
    names = ("base_model_name_or_path", "peft_type", "task_type", "r", "lora_alpha")
    kept = {key: table[key] for key in (*names, "target_modules", "inference_mode")}
    kept |= {"bias": "none", "enable_lora": None, "fan_in_fan_out": False, "lora_dropout": 0.05,
             "merge_weights": False, "modules_to_save": None}  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(kept))


def _checkpoint(folder: Path) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"not opened")
    (folder / "trainer_state.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")


def _deepspeed(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "global_step10").mkdir()
    for name in ("mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        (folder / "global_step10" / name).write_bytes(b"not opened")
    (folder / "latest").write_text("global_step10")
    (folder / "zero_to_fp32.py").write_text("raise SystemExit('run')\n")


def _fsdp(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model_fsdp_0").mkdir()
    (folder / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"not opened")
    (folder / "pytorch_model_fsdp_0" / ".metadata").write_bytes(b"not opened")


def _mlx(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    named = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(_PREFIX).removesuffix(".weight")
        named[plain.replace("lora_A", "lora_a").replace("lora_B", "lora_b")] = tensor.T.contiguous()
    save_file(named, folder / "adapters.safetensors")
    parameters = {"rank": 8, "scale": 20.0, "dropout": 0.0}
    table = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters,
             "model": "mlx-community/tiny"}  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(table))


def _shards(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, of = sorted(tensors), {}
    for index, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"adapter_model-{index:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        of |= dict.fromkeys(part, file)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": of}))


def _half_a_pair(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, folder / WEIGHTS)


def _bare(name: str) -> str:
    return name.removeprefix(_PREFIX)


SHAPES: dict[str, Callable[[Path], None]] = {
    "unsloth": _unsloth,
    "peft-0.2": _oldest,
    "trainer-checkpoint": _checkpoint,
    "deepspeed-checkpoint": _deepspeed,
    "fsdp-checkpoint": _fsdp,
    "mlx": _mlx,
    "shards": _shards,
    "half-a-pair": _half_a_pair,
    "no-prefix": lambda folder: _renamed(folder, _bare),
    "prefix-twice": lambda folder: _renamed(folder, lambda name: _PREFIX + name),
    "name-in-keys": lambda folder: _renamed(
        folder, lambda name: name.replace("lora_A.", "lora_A.default.").replace(
            "lora_B.", "lora_B.default.")
    ),
    "compiled": lambda folder: _renamed(
        folder, lambda name: name.replace(_PREFIX, f"{_PREFIX}_orig_mod.")
    ),
    "rank-that-is-wrong": lambda folder: _config(folder, r=16),
    "another-module": lambda folder: _config(folder, target_modules=["q_proj"]),
    "negative-scale": lambda folder: _config(folder, lora_alpha=-16),
    "a-key-of-tomorrow": lambda folder: _config(folder, use_tomorrow=True),
}  # fmt: skip


def make(plain: Path, out: Path) -> None:
    """Every shape as a folder of `out`, from a plain adapter and its expected answers."""
    for name, spoil in SHAPES.items():
        shutil.copytree(plain, out / name)
        spoil(out / name)
        shutil.copyfile(plain.with_name("plain.expected.json"), out / f"{name}.expected.json")
