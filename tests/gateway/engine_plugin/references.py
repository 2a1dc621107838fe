"""Adapters of several methods made with PEFT on the real base, and PEFT's own answers with them.

Weights are random but of a realistic size: what is compared is arithmetic, not learning.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.prefix_tuning import PREFIX_TUNING
from adapterworks.builders.methods.prompt_tuning import PROMPT_TUNING
from adapterworks.builders.methods.shape import read_shape
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.bases.base import Base

NEW_TOKENS = 12
PROMPTS = (
    "The capital of France is",
    "Write a haiku about rivers, please. I like",
    " ".join(["word"] * 140) + " and then",
)


@dataclass(frozen=True)
class Answer:
    """Greedy tokens and their log-probabilities, and those of the prompt but its first token.

    Attributes:
        prompt: of its own tokens.
        likeliest: what was likeliest in their places.
    """

    tokens: list[int]
    logprobs: list[float]
    prompt: list[float]
    likeliest: list[int]


@dataclass(frozen=True)
class Reference:
    """One adapter, ready for the engine, with PEFT's answers to all prompts.

    Attributes:
        address: what a request to the engine must contain to be answered by it.
        lora: folder to load, for LoRA.
    """

    name: str
    address: dict[str, Any]
    lora: Path | None
    answers: list[Answer]


def prompts(base: Base) -> list[list[int]]:
    """Token ids of the prompts and of one chat."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.served)
    chat = [{"role": "user", "content": "Say hello"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    return [*(tokenizer(text).input_ids for text in PROMPTS), ids]


def _answer(model: Any, ids: list[int]) -> Answer:
    out = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    tokens = out.sequences[0, -NEW_TOKENS:].tolist()
    scores = [torch.log_softmax(step[0].float(), -1) for step in out.logits]
    with torch.no_grad():
        asked = model(torch.tensor([ids]), use_cache=False).logits[0, -len(ids) : -1].float()
    prompt = torch.log_softmax(asked, -1)
    return Answer(
        tokens,
        [s[t].item() for s, t in zip(scores, tokens, strict=True)],
        prompt.gather(1, torch.tensor(ids[1:])[:, None]).flatten().tolist(),
        prompt.argmax(-1).tolist(),
    )


class Maker:
    """Makes references on one base; `servables` gets what `ADAPTERS_SERVABLES` must name."""

    def __init__(self, base: Base, folder: Path, servables: Path) -> None:
        self.base, self.folder, self.servables = base, folder, servables
        self.prompts = prompts(base)
        self.draw = torch.Generator().manual_seed(7)

    def _model(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.base.served, dtype=torch.float32).eval()

    def plain(self) -> Reference:
        """The base itself."""
        model = self._model()
        return Reference("base", {}, None, [_answer(model, ids) for ids in self.prompts])

    def lora(self, name: str, rank: int, modules: list[str]) -> Reference:
        """A LoRA on some modules."""
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=32, target_modules=modules)
        model = get_peft_model(self._model(), config).eval()
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_A" in parameter_name:  # as PEFT draws it, but the same in every run
                    bound = parameter.shape[1] ** -0.5
                    parameter.uniform_(-bound, bound, generator=self.draw)
                elif "lora_B" in parameter_name:
                    parameter.normal_(0, 0.02, generator=self.draw)
        target = self.folder / name
        # The base's embeddings are no part of an adapter, also of one of the logits.
        model.save_pretrained(target, save_embedding_layers=False)
        answers = [_answer(model, ids) for ids in self.prompts]
        return Reference(name, {"model": name}, target, answers)

    def soft(self, form: Literal["prefix", "prompt"], count: int) -> Reference:
        """A prefix or a soft prompt of `count` virtual tokens, near what real tokens give."""
        from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

        model = self._model()
        words = torch.randint(100, 40_000, (1, count), generator=self.draw)
        with torch.no_grad():
            if form == "prefix":
                layers = model(words, use_cache=True).past_key_values.layers
                pairs = [
                    t[0].transpose(0, 1) for layer in layers for t in (layer.keys, layer.values)
                ]
                value = torch.stack(pairs, 1).reshape(count, -1)
            else:
                value = model.get_input_embeddings()(words[0])
            value = value + 0.05 * value.std() * torch.randn(value.shape, generator=self.draw)
            kind = PrefixTuningConfig if form == "prefix" else PromptTuningConfig
            model = get_peft_model(model, kind(task_type="CAUSAL_LM", num_virtual_tokens=count))
            model.prompt_encoder["default"].embedding.weight.copy_(value)
        model.eval()
        name = f"{form}-{count}"
        model.save_pretrained(self.folder / name)
        digest = hashlib.sha256(name.encode()).hexdigest()
        source = Source(
            self.folder / name,
            self.base.served,
            read_shape(self.base.served),
            load_manifest("medical"),
        )
        convert = (PREFIX_TUNING if form == "prefix" else PROMPT_TUNING).convert
        convert(source, self.servables / digest / "servable")
        address = {"kv_transfer_params": {"adapter_digest": f"sha256:{digest}"}}
        return Reference(name, address, None, [_answer(model, ids) for ids in self.prompts])

    def damaged(self, of: Reference) -> dict[str, Any]:
        """The address of a copy whose file is cut off after its header."""
        digest = of.address["kv_transfer_params"]["adapter_digest"].removeprefix("sha256:")
        target = self.servables / ("d" * 64)
        shutil.copytree(self.servables / digest, target)
        file = target / "servable" / "prefix.safetensors"
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        return {"kv_transfer_params": {"adapter_digest": "d" * 64}}
