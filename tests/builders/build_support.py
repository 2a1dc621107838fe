"""A tiny base and planned trainings on it: real files, real trainings, a second each."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.plan.environment import Environment
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.machine import Machine
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.training.batches import load_encoded, save_encoded
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.loop import Trainer, TrainResult
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.releases.release import BaseIdentity

TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }} {{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
# What every row begins with, as rows of one system prompt do.
SHARED = (7, 8, 9)
KINDS = (
    "full",
    "lora",
    "qlora",
    "adalora",
    "dora",
    "prefix-tuning",
    "prompt-tuning",
    "p-tuning-v2",
)
MACHINE = Machine("cpu", "test", 16 << 30, "fp32", 2)
ENVIRONMENT = Environment({"version": "0", "digest": "sha256:0"}, {"torch": "0"}, "3.11")


def make_tiny_base(folder: Path) -> Path:
    """A random Llama (hidden 64, 2 layers, 4 heads, 2 key-value heads) with a byte tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def manifest_for(kind: str, base: str = "./tiny", **train: Any) -> Manifest:
    """A manifest of a method; `train` overrides `[train]`, `method` in it overrides `[method]`, and
    `objective` is a name or the whole `[objective]`."""
    method, objective = train.pop("method", {}), train.pop("objective", "sft")
    values = {
        "adapter": {"name": "tiny"},
        "base": {"model": base, "quantization": "nf4" if kind == "qlora" else "none"},
        "method": {"kind": kind, **method},
        "data": {"train": "rows.jsonl"},
        "objective": {"kind": objective} if isinstance(objective, str) else objective,
        "train": {"batch_size": 8, "max_length": 64, "epochs": 3.0, "evaluations": 4, **train},
    }
    return Manifest.model_validate_json(json.dumps(values))


def encoded_rows(count: int, seed: int = 0) -> list[Encoded]:
    """Random token sequences with a learnable end: the last tokens repeat the first ones."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index in range(count):
        length = int(torch.randint(6, 14, (1,), generator=generator))
        head = torch.randint(2, 250, (length,), generator=generator).tolist()
        ids = [0, *SHARED, *head, head[0], head[1], 1]
        labels = [-100] * (len(ids) - 3) + ids[-3:]
        rows.append(Encoded(ids, labels, index))
    return rows


def examples_of(rows: list[Encoded]) -> list[Example]:
    """The rows as examples of supervised fine-tuning: a sequence each, counting its labels."""
    return [Example((row,), float(sum(label != -100 for label in row.labels[1:]))) for row in rows]


def facts_of(train: list[Encoded], validation: list[Encoded]) -> DataFacts:
    """What a plan sees of the rows."""
    return DataFacts(
        rows={"train": len(train), "validation": len(validation), "test": 0},
        digests={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
        lengths=tuple(len(row.input_ids) for row in train),
        supervised=tuple(sum(label != -100 for label in row.labels) for row in train),
        shared=1 + len(SHARED),
    )


@dataclass
class TinyJob:
    """One planned training and its folder."""

    plan: Plan
    base: Path
    folder: Path

    def trainer(self, **folders: Path) -> Trainer:
        """A trainer, continuing from the folder's newest checkpoint.

        Args:
            folders: of what stands beside the policy, as the trainer takes them.
        """
        rows = load_encoded(self.folder / "encoded.safetensors")
        events = EventLog(self.folder / "events.jsonl")
        return Trainer(self.plan, self.base, self.folder, rows, events, pad=1, **folders)

    def run(self, **folders: Path) -> TrainResult:
        return self.trainer(**folders).run()

    def adapter(self) -> dict[str, torch.Tensor]:
        """The tensors that were written."""
        from safetensors.torch import load_file

        (path,) = (self.folder / "adapter").glob("*.safetensors")
        return load_file(path)

    def with_plan(self, **changes: Any) -> TinyJob:
        return replace(self, plan=self.plan.model_copy(update=changes))


def identity(kind: str) -> BaseIdentity:
    return BaseIdentity(
        model="tiny",
        revision="1",
        quantization="nf4" if kind == "qlora" else "none",
        digest="sha256:" + "0" * 64,
    )


def tiny_job(
    base: Path, folder: Path, kind: str, *, rows: int = 32, validation: int = 8, **train: Any
) -> TinyJob:
    """Plan a training of `kind` on the tiny base and write its rows."""
    folder.mkdir(parents=True)
    splits = {"train": encoded_rows(rows), "validation": encoded_rows(validation, seed=1)}
    save_encoded(
        folder / "encoded.safetensors", {name: examples_of(rows) for name, rows in splits.items()}
    )
    plan = make_plan(
        manifest_for(kind, **train),
        identity(kind),
        read_shape(base),
        MACHINE,
        facts_of(splits["train"], splits["validation"]),
        ENVIRONMENT,
    )
    return TinyJob(plan, base, folder)


def tiny_store(folder: Path) -> BaseStore:
    """A base store of a test's own."""
    return BaseStore(folder / "bases")
