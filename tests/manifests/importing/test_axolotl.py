"""Axolotl's configurations: what each key becomes, and that none is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapterworks.manifests.importing import PROGRAMS
from adapterworks.manifests.importing.conversion import Conversion

# The shape of its examples (examples/llama-3/lora-1b.yml).
EXAMPLE = """
base_model: NousResearch/Llama-3.2-1B
load_in_8bit: false
load_in_4bit: false
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
val_set_size: 0.1
output_dir: ./outputs/lora-out
adapter: lora
lora_model_dir:
sequence_len: 2048
sample_packing: true
eval_sample_packing: true
lora_r: 16
lora_alpha: 32
lora_dropout: 0.05
lora_target_modules: [gate_proj, down_proj, up_proj, q_proj, v_proj, k_proj, o_proj]
wandb_project:
wandb_entity:
gradient_accumulation_steps: 2
micro_batch_size: 2
num_epochs: 1
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
tf32: false
gradient_checkpointing: true
resume_from_checkpoint:
logging_steps: 1
flash_attention: true
warmup_ratio: 0.1
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
special_tokens:
  pad_token: "<|end_of_text|>"
"""


def convert(**keys: Any) -> Conversion:
    return PROGRAMS["axolotl"](yaml.safe_load(EXAMPLE) | keys, Path("/nowhere"), "own")


def manifest(**keys: Any) -> dict[str, Any]:
    done = convert(**keys)
    assert done.refused == ()
    return done.manifest


def rows(**keys: Any) -> dict[str, Any]:
    """One set of the Hub with these keys."""
    return {"datasets": [{"path": "org/rows", "type": "alpaca"} | keys]}


def test_an_example_of_its_own() -> None:
    found = manifest()
    assert found["base"] == {"model": "hub:NousResearch/Llama-3.2-1B@main"}
    assert found["method"] == {
        "kind": "lora",
        "rank": 16,
        "alpha": 32,
        "dropout": 0.05,
        "rslora": False,
        "target_modules": [
            "gate_proj", "down_proj", "up_proj", "q_proj", "v_proj", "k_proj", "o_proj",
        ],
    }  # fmt: skip
    assert found["data"] == {
        "train": "hub:teknium/GPT4-LLM-Cleaned@main#train",
        "format": "instruction",
        "validation_share": 0.1,
    }
    assert found["train"] == {
        "max_length": 2048,
        "gradient_checkpointing": True,
        "weight_decay": 0.0,
        "batch_size": 4,
        "micro_batch_size": 2,
        "epochs": 1.0,
        "learning_rate": 0.0002,
        "schedule": "cosine",
        "warmup_ratio": 0.1,
        "optimizer": "adamw-8bit",
        "precision": "auto",
        "on_overflow": "drop",
        "loss_on": "completion",
        "packing": True,
        "packing_strategy": "bfd",
    }


@pytest.mark.parametrize(
    ("keys", "table", "values"),
    [
        ({"adapter": None}, "method", {"kind": "full"}),
        ({"adapter": "qlora", "load_in_4bit": True}, "method", {"kind": "qlora"}),
        ({"adapter": "lora", "load_in_4bit": True}, "base", {"quantization": "nf4"}),
        ({"peft_use_dora": True}, "method", {"kind": "dora"}),
        ({"peft_use_rslora": True}, "method", {"rslora": True}),
        ({"lora_target_linear": True}, "method", {"target_modules": "all-linear"}),
        ({"train_on_inputs": True}, "train", {"loss_on": "all"}),
        ({"wandb_project": "p"}, "train", {"trackers": ["wandb"]}),
        ({"early_stopping_patience": 3}, "train", {"early_stopping": 3}),
        ({"hub_model_id": "org/name"}, "publish", {"hub": "org/name"}),
        ({"datasets": [{"path": "rows.jsonl", "type": "chat_template"}]}, "data",
         {"train": "rows.jsonl", "format": "messages"}),
        ({"datasets": [{"path": "rows.jsonl", "type": "chat_template",
                        "field_messages": "conversations",
                        "message_property_mappings": {"role": "from", "content": "value"}}]},
         "data", {"format": "sharegpt"}),
        ({"datasets": [{"path": "rows.jsonl", "type": "chat_template",
                        "message_property_mappings": {"role": "from", "content": "value"}}]},
         "data", {"format": "sharegpt", "columns": {"conversations": "messages"}}),
        ({"datasets": [{"path": "rows.jsonl", "type": "sharegpt", "field_messages": "turns"}]},
         "data", {"format": "sharegpt", "columns": {"conversations": "turns"}}),
        ({"datasets": [{"path": "json", "data_files": ["own.jsonl"], "type": "completion",
                        "field": "body"}]},
         "data", {"train": "own.jsonl", "format": "text", "columns": {"text": "body"}}),
        ({"datasets": [{"path": "./rows", "data_files": "own.jsonl", "type": "alpaca"}]},
         "data", {"train": "rows/own.jsonl"}),
        ({"datasets": [{"path": "openai/gsm8k", "type": "alpaca", "name": "socratic"}]},
         "data", {"train": "hub:openai/gsm8k@main#socratic:train"}),
        ({"datasets": [{"path": "org/rows-v1.1", "type": "alpaca", "name": "main",
                        "split": "test", "revision": "v2", "train_on_eos": "turn"}]},
         "data", {"train": "hub:org/rows-v1.1@v2#main:test"}),
        ({"batch_size": 8, "gradient_accumulation_steps": None}, "train",
         {"batch_size": 8, "micro_batch_size": 2}),
        ({"batch_size": 4}, "train", {"batch_size": 4, "micro_batch_size": 2}),
        ({"warmup_ratio": None}, "train", {"warmup_ratio": 0.03}),
        ({"warmup_ratio": 0}, "train", {"warmup_ratio": 0.0}),
        ({"group_by_length": "false"}, "train", {"group_by_length": False}),
        ({"gradient_checkpointing": "False"}, "train", {"gradient_checkpointing": False}),
        ({"gradient_checkpointing": "offload"}, "train", {"gradient_checkpointing": True}),
        ({"weight_decay": "1e-2"}, "train", {"weight_decay": 0.01}),
        ({"sequence_len": None}, "train", {"max_length": 512}),
        ({}, "train", {"on_overflow": "drop"}),
        ({"excess_length_strategy": "truncate"}, "train", {"on_overflow": "cut"}),
        ({"excess_length_strategy": "raise"}, "train", {"on_overflow": "fail"}),
        ({"bf16": None}, "train", {"precision": "fp32"}),
        ({"bf16": None, "fp16": True}, "train", {"precision": "fp16"}),
        ({"bf16": False}, "train", {"precision": "fp32"}),
        ({"warmup_ratio": None, "warmup_steps": 0}, "train", {"warmup_ratio": 0.0}),
    ],
)  # fmt: skip
def test_what_a_key_becomes(keys: dict[str, Any], table: str, values: dict[str, Any]) -> None:
    found = manifest(**keys)[table]
    assert {key: found[key] for key in values} == values


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rl": "dpo"}, "rl: preference and reinforcement learning"),
        ({"load_in_8bit": True}, "load_in_8bit: bases are NF4"),
        (
            {"lora_modules_to_save": ["embed_tokens"]},
            "lora_modules_to_save: modules trained in full",
        ),
        ({"tokens": ["<a>"]}, "tokens: new tokens"),
        ({"special_tokens": {"eos_token": "<e>"}}, "special_tokens: new tokens"),
        ({"plugins": ["acme.Plugin"]}, "plugins: `acme.Plugin` may change what is learnt"),
        ({"excess_length_strategy": ["drop"]}, "excess_length_strategy: it is none of drop"),
        ({"optimizer": "muon"}, "optimizer: the optimizer `muon` is not there"),
        ({"lr_scheduler": "rex"}, "lr_scheduler: the schedule `rex`"),
        ({"datasets": [{"path": "x", "type": "gpteacher"}]}, "datasets: `x` has the strategy"),
        (
            {"datasets": [{"path": "x", "type": "alpaca", "shards": 2}]},
            "datasets: `x` has `shards`",
        ),
        (rows(name="a", split="train[:100]"), "datasets: `org/rows` takes `train[:100]`"),
        (rows(name="a b"), "datasets: `org/rows` takes `a b`"),
        (rows(data_files="a.jsonl"), "datasets: `org/rows` names a file of a repository"),
        (rows(train_on_eos="all"), "datasets: `org/rows` learns other ends"),
        (
            rows(path="rows.jsonl", split="validation"),
            "datasets: `rows.jsonl` has the split `validation`",
        ),
        (
            rows(type="chat_template", message_field_role="speaker"),
            "datasets: `org/rows` has turns of `speaker` and `content`",
        ),
        (
            {"test_datasets": [{"path": "check.jsonl", "type": "chat_template"}]},
            "test_datasets: its rows have another form",
        ),
        (
            {"batch_size": 9, "gradient_accumulation_steps": None},
            "batch_size: it is not micro_batch_size times gradient_accumulation_steps",
        ),
        ({"batch_size": 8}, "batch_size: it is not micro_batch_size times"),
        (
            {"batch_size": 1, "gradient_accumulation_steps": None},
            "batch_size: it is not micro_batch_size times",
        ),
        ({"datasets": None}, "datasets: no data set is named"),
        ({"learning_rate": None}, "learning_rate: it is not named"),
        ({"adapter": None, "load_in_4bit": True}, "load_in_4bit: a base in four bits"),
        ({"group_by_length": "perhaps"}, "group_by_length: it is neither true nor false"),
        ({"weight_decay": [0.1]}, "weight_decay: it is no number"),
        ({"weight_decay": True}, "weight_decay: it is no number"),
        ({"lora_target_modules": None}, "lora_target_modules: the modules that get an adapter"),
        ({"adam_beta2": 0.95}, "adam_beta2: AdamW's"),
        ({"secuence_len": 5}, "secuence_len: it is no key of Axolotl that is known here"),
        ({"deepspeed": "zero3.json"}, "deepspeed: say how weights are divided"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_reason(
    keys: dict[str, Any], words: str
) -> None:
    (note,) = convert(**keys).refused
    assert f"{note.key}: {note.why}".startswith(words)


@pytest.mark.parametrize(
    ("named", "modules"),
    [
        ("all-linear", "all-linear"),
        ("q_proj, ,v_proj,", ["q_proj", "v_proj"]),
        ([" q_proj", "", "v_proj "], ["q_proj", "v_proj"]),
    ],
)
def test_modules_are_a_list_a_text_with_commas_or_all_of_them(named: Any, modules: Any) -> None:
    assert manifest(lora_target_modules=named)["method"]["target_modules"] == modules


@pytest.mark.parametrize("sets", [{"path": "org/rows"}, "org/rows", 3, [3], [{"path": "a/b"}, 3]])
def test_data_sets_are_a_list_of_tables(sets: Any) -> None:
    whys = {note.key: note.why for note in convert(datasets=sets).refused}
    assert whys["datasets"] == "it is no list of data sets"


@pytest.mark.parametrize("share", [1, 1.0, 1.5, 200])
def test_a_number_of_held_out_rows_is_no_share(share: float) -> None:
    (note,) = convert(val_set_size=share).refused
    assert (note.key, note.why) == (
        "val_set_size",
        "a share of the rows is held out, not a number of them",
    )


def test_a_base_beside_the_configuration_is_a_folder_and_one_elsewhere_by_its_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    for model, base in (
        ("mine", "mine"),
        ("./not-there-yet", "./not-there-yet"),
        ("/srv/models/m", "/srv/models/m"),
        ("~/m", "~/m"),
        ("org/mine", "hub:org/mine@main"),
    ):
        keys = yaml.safe_load(EXAMPLE) | {"base_model": model}
        found = PROGRAMS["axolotl"](keys, tmp_path, "own")
        assert found.manifest["base"]["model"] == base


def test_what_makes_it_dora_is_said_to_be_the_kind() -> None:
    notes = {note.key: note for note in convert(peft_use_dora=True).notes}
    for key in ("adapter", "peft_use_dora"):
        assert (notes[key].outcome, notes[key].to) == ("mapped", ("method.kind",))


def test_what_peft_can_say_of_a_lora_is_taken() -> None:
    done = convert(
        lora_rank_pattern={"q_proj": 4},
        lora_alpha_pattern={"q_proj": 8},
        peft_layers_to_transform=[0, 2],
        peft_init_lora_weights="pissa_niter_4",
        cosine_min_lr_ratio=0.1,
    )
    method = done.manifest["method"]
    assert method["rank_pattern"] == {"q_proj": 4}
    assert method["alpha_pattern"] == {"q_proj": 8}
    assert method["layers_to_transform"] == [0, 2]
    assert method["init"] == "pissa"
    assert done.manifest["train"]["learning_rate_floor"] == 0.1
    assert convert(peft_init_lora_weights=True).manifest["method"]["init"] == "kaiming"
    refused = convert(peft_init_lora_weights="corda").refused
    assert [note.key for note in refused] == ["peft_init_lora_weights"]


def test_what_is_not_said_is_axolotls_default() -> None:
    """`schemas/config.py`: `sequence_len` is 512, `bf16` is `auto`."""
    keys = yaml.safe_load(EXAMPLE)
    del keys["bf16"], keys["sequence_len"]
    train = PROGRAMS["axolotl"](keys, Path("/nowhere"), "own").manifest["train"]
    assert (train["precision"], train["max_length"]) == ("auto", 512)


def test_chats_beside_texts_learn_answers_alone() -> None:
    texts = {"path": "texts.jsonl", "type": "completion"}
    chats = {"path": "chats.jsonl", "type": "chat_template"}
    found = manifest(datasets=[texts, chats])
    assert found["data"]["train"] == "chats.jsonl"
    assert found["data"]["mix"] == [{"source": "texts.jsonl", "format": "text"}]
    assert found["train"]["loss_on"] == "completion"
    assert manifest(datasets=[texts, texts])["train"]["loss_on"] == "all"


@pytest.mark.parametrize("steps", [-1, 0])
def test_a_number_of_steps_that_is_none_is_off(steps: int) -> None:
    assert "max_steps" not in manifest(max_steps=steps)["train"]


def test_a_folder_or_file_that_is_here_is_no_repository(tmp_path: Path) -> None:
    """Axolotl looks at the disk first; a stranger may have a repository of any name."""
    (tmp_path / "data" / "rows").mkdir(parents=True)
    (tmp_path / "data" / "raw").write_text("")

    def found(**keys: Any) -> Conversion:
        sets = {"datasets": [{"type": "alpaca", **keys}]}
        return PROGRAMS["axolotl"](yaml.safe_load(EXAMPLE) | sets, tmp_path, "own")

    (note,) = found(path="data/rows").refused
    assert note.why == (
        "`data/rows` is a folder here: name its files in `data_files`, one a data set"
    )
    done = found(path="data/rows", data_files="a.jsonl")
    assert (done.refused, done.manifest["data"]["train"]) == ((), "data/rows/a.jsonl")
    assert found(path="data/raw").manifest["data"]["train"] == "data/raw"
    assert found(path="data/other").manifest["data"]["train"] == "hub:data/other@main#train"
