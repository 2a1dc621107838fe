"""Run by another environment's Python: adapters as the PEFT that is installed there saves them.

    python make.py BASE OUT        BASE: a tiny Llama (config.json, model.safetensors)

Each shape is a folder of OUT, with the log-probabilities that this PEFT itself computes for `IDS`
in NAME.expected.json; a shape that this version has not is in `skipped.json` with its reason. It
imports nothing of ours: the environments have other versions of everything.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

IDS = [0, 17, 42, 99, 130, 7, 201, 17, 55, 8]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
# name → what LoraConfig is given besides PLAIN
LORAS = {
    "plain": {},
    "all-linears": {"target_modules": ALL, "r": 4},
    "an-expression": {"target_modules": r".*\.(q|v)_proj"},
    "some-layers": {"layers_to_transform": [1]},
    "patterns": {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"v_proj": 32}},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "biases": {"bias": "lora_only"},
    "modules-in-full": {"modules_to_save": ["lm_head"]},
    "the-output": {"target_modules": ["q_proj", "lm_head"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "pissa": {"init_lora_weights": "pissa"},
    "half": {},
    "dropout-and-no-task": {"lora_dropout": 0.1, "task_type": None},
}
OTHERS = {
    "prompt-tuning": ("PromptTuningConfig", {"num_virtual_tokens": 4}),
    "prefix-tuning": ("PrefixTuningConfig", {"num_virtual_tokens": 4}),
    "ia3": ("IA3Config", {"target_modules": ["k_proj", "down_proj"],
                          "feedforward_modules": ["down_proj"]}),
    "adalora": ("AdaLoraConfig", {"target_modules": ["q_proj"], "total_step": 10}),
    "loha": ("LoHaConfig", {"target_modules": ["q_proj"]}),
    "vera": ("VeraConfig", {"target_modules": ["q_proj"], "r": 8}),
}  # fmt: skip


def make_base(folder: Path):
    """The base, from its numbers and tensors alone: its files are of another version."""
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaForCausalLM

    given = json.loads((folder / "config.json").read_text())
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
             "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
             "tie_word_embeddings", "rms_norm_eps")  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**{name: given[name] for name in names}))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    model.tie_weights()
    return model.float().eval()


def disturb(model, seed: int) -> None:
    """Numbers as a training leaves them: no factor is zero."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def answers(model) -> list[list[float]]:
    """[tokens, vocabulary] log-probabilities of `IDS`."""
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([IDS])).logits[0].double()
    return torch.log_softmax(logits, -1).tolist()


def save(model, out: Path, name: str, expected: list[list[float]], **options) -> None:
    """As the library saves it, and what it answers."""
    model.save_pretrained(str(out / name), **options)
    (out / f"{name}.expected.json").write_text(json.dumps(expected))


def make_lora(peft, base: Path, out: Path, name: str, seed: int) -> None:
    """One shape of LoRA; `plain` is saved in further ways."""
    config = peft.LoraConfig(**{"task_type": "CAUSAL_LM", **PLAIN, **LORAS[name]})
    model = peft.get_peft_model(make_base(base), config)
    disturb(model, seed)
    if name == "half":
        import torch

        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.data = parameter.data.to(torch.bfloat16).float()
    model.eval()
    expected = answers(model)
    if name == "half":
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.data = parameter.data.to(torch.bfloat16)
    save(model, out, name, expected, safe_serialization=True)
    if name == "plain":
        save(model, out, "pickled", expected, safe_serialization=False)
        model.add_adapter("second", peft.LoraConfig(task_type="CAUSAL_LM", **PLAIN))
        save(model, out, "two-adapters", expected, safe_serialization=True)


def main(base: Path, out: Path) -> None:
    """Make every shape that this version has."""
    warnings.simplefilter("ignore")
    import peft

    skipped = {}
    for seed, name in enumerate(LORAS):
        try:
            make_lora(peft, base, out, name, seed)
        except Exception as error:  # a key or a method that this version has not
            skipped[name] = f"{type(error).__name__}: {error}"[:200]
    for seed, (name, (kind, options)) in enumerate(OTHERS.items(), start=100):
        try:
            config = getattr(peft, kind)(task_type="CAUSAL_LM", **options)
            model = peft.get_peft_model(make_base(base), config)
            disturb(model, seed)
            save(model.eval(), out, name, answers(model), safe_serialization=True)
        except Exception as error:
            skipped[name] = f"{type(error).__name__}: {error}"[:200]
    (out / "skipped.json").write_text(json.dumps(skipped, indent=2))
    (out / "version.json").write_text(json.dumps(peft.__version__))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
