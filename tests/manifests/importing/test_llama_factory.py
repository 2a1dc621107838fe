"""LLaMA-Factory's configurations: what each key becomes, and that none is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.importing import PROGRAMS
from adapterworks.manifests.importing.conversion import Conversion, Note

HERE = Path(__file__).parent
# The argument classes of llamafactory 0.9.5 (`hparams/*.py`), a key a line.
KEYS = (HERE / "llama_factory_0.9.5_keys.txt").read_text().split()
BASIC: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "dataset": "own",
    "output_dir": "saves/own",
}
INFO = {
    "own": {"file_name": "own.jsonl"},
    "talks": {"file_name": "talks.jsonl", "formatting": "sharegpt"},
    "openai": {
        "file_name": "openai.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "turns"},
        "tags": {"role_tag": "role", "content_tag": "content"},
    },
    "renamed": {
        "file_name": "renamed.jsonl",
        "columns": {"prompt": "question", "response": "answer"},
    },
    "few": {"file_name": "few.jsonl", "num_samples": 7},
    "hub": {"hf_hub_url": "org/rows", "split": "train_sft"},
    "part": {"hf_hub_url": "org/rows", "subset": "socratic", "revision": "v2"},
    "both": {"hf_hub_url": "org/rows", "file_name": "own.jsonl", "subset": None, "split": None},
    "folded": {"hf_hub_url": "org/rows", "folder": "cn"},
    "sliced": {"hf_hub_url": "org/rows", "split": "train[:100]"},
    "cut": {"file_name": "own.jsonl", "split": "test"},
    "odd": {"file_name": "own.jsonl", "columns": {"answers": "a"}},
    "scripted": {"script_url": "own"},
    "users": {
        "file_name": "users.jsonl",
        "formatting": "sharegpt",
        "tags": {"user_tag": "user", "assistant_tag": "assistant"},
    },
    "speakers": {
        "file_name": "s.jsonl",
        "formatting": "sharegpt",
        "tags": {"user_tag": "doctor", "assistant_tag": "gpt"},
    },
    "mixed": {"file_name": "s.jsonl", "formatting": "sharegpt", "tags": {"role_tag": "role"}},
    "tagged": {"file_name": "s.jsonl", "formatting": "sharegpt", "tags": {"tool_tag": "tool"}},
    "pairs": {"file_name": "pairs.jsonl", "ranking": True},
    "talked": {
        "file_name": "talked.jsonl",
        "ranking": True,
        "formatting": "sharegpt",
        "columns": {"messages": "turns", "chosen": "good", "rejected": "bad"},
    },
    "turns": {
        "file_name": "turns.jsonl",
        "formatting": "sharegpt",
        "tags": {"role_tag": "role", "content_tag": "content"},
    },
    "called": {"file_name": "c.jsonl", "columns": {"prompt": "q", "tools": "functions"}},
    "called_pairs": {
        "file_name": "c.jsonl",
        "ranking": True,
        "columns": {"chosen": "chosen", "rejected": "rejected", "tools": "functions"},
    },
    "pictures": {"file_name": "p.jsonl", "columns": {"images": "images"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    return tmp_path


def convert(folder: Path, **keys: Any) -> Conversion:
    return PROGRAMS["llama-factory"](BASIC | keys, folder, "own")


def manifest(folder: Path, **keys: Any) -> dict[str, Any]:
    done = convert(folder, **keys)
    assert done.refused == ()
    return done.manifest


def refusal(folder: Path, **keys: Any) -> str:
    (note,) = convert(folder, **keys).refused
    return f"{note.key}: {note.why}"


def test_its_defaults_are_written_out(folder: Path) -> None:
    """By transformers' TrainingArguments and LLaMA-Factory's own classes, not by ours."""
    assert manifest(folder) == {
        "adapter": {"name": "own"},
        "base": {"model": "hub:Qwen/Qwen2.5-0.5B-Instruct@main"},
        "method": {
            "kind": "lora",
            "rank": 8,
            "alpha": 16,
            "dropout": 0.0,
            "rslora": False,
            "target_modules": "all-linear",
        },
        "data": {
            "train": str(folder / "data" / "own.jsonl"),
            "format": "instruction",
            "validation_share": 0.05,
        },
        "objective": {"kind": "sft"},
        "train": {
            "batch_size": 8,
            "micro_batch_size": 8,
            "epochs": 3.0,
            "learning_rate": 5e-5,
            "schedule": "linear",
            "warmup_ratio": 0.0,
            "optimizer": "adamw",
            "precision": "fp32",
            "loss_on": "completion",
            "max_length": 2048,
            "packing": False,
            "gradient_checkpointing": True,
        },
    }


def test_every_key_of_its_classes_is_looked_at(folder: Path) -> None:
    """A value that turns it on is mapped, noted or refused with a reason of its own."""
    for key in KEYS:
        done = convert(folder, **{key: BASIC.get(key, "on")})
        note = next((note for note in done.notes if note.key == key), None)
        assert note is not None, key
        assert "is no key of" not in note.why, key
        assert note.outcome == "mapped" or note.why, key


def test_a_key_it_does_not_have_is_refused(folder: Path) -> None:
    assert refusal(folder, lora_rnak=4) == (
        "lora_rnak: it is no key of LLaMA-Factory that is known here"
    )


def test_null_is_a_key_that_is_not_there(folder: Path) -> None:
    assert (
        manifest(folder, resume_from_checkpoint=None, lora_alpha=None, quantization_bit=None)[
            "method"
        ]
        == manifest(folder)["method"]
    )


@pytest.mark.parametrize(
    ("keys", "table", "values"),
    [
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}, "train",
         {"batch_size": 16, "micro_batch_size": 2}),
        ({"lora_rank": 32}, "method", {"rank": 32, "alpha": 64}),
        ({"lora_rank": 32, "lora_alpha": 16}, "method", {"rank": 32, "alpha": 16}),
        ({"lora_target": "q_proj, v_proj"}, "method", {"target_modules": ["q_proj", "v_proj"]}),
        ({"use_dora": True}, "method", {"kind": "dora"}),
        ({"use_rslora": True}, "method", {"rslora": True}),
        ({"quantization_bit": 4}, "method", {"kind": "qlora"}),
        ({"quantization_bit": 4, "double_quantization": False}, "base",
         {"quantization": "nf4", "double_quantization": False}),
        ({"finetuning_type": "full"}, "method", {"kind": "full"}),
        ({"learning_rate": "1e-4"}, "train", {"learning_rate": 1e-4}),
        ({"lr_scheduler_type": "constant_with_warmup"}, "train", {"schedule": "constant"}),
        ({"warmup_steps": 20, "max_steps": 100}, "train", {"warmup_ratio": 0.2, "max_steps": 100}),
        ({"warmup_steps": 0.1}, "train", {"warmup_ratio": 0.1}),
        ({"bf16": True}, "train", {"precision": "bf16"}),
        ({"fp16": True}, "train", {"precision": "fp16"}),
        ({"train_on_prompt": True}, "train", {"loss_on": "all"}),
        ({"mask_history": True}, "train", {"loss_on": "last"}),
        ({"neat_packing": True}, "train", {"packing": True, "packing_strategy": "bfd"}),
        ({"disable_gradient_checkpointing": True}, "train", {"gradient_checkpointing": False}),
        ({"optim": "paged_adamw_8bit"}, "train", {"optimizer": "paged-adamw-8bit"}),
        ({"optim": "paged_adamw_32bit"}, "train", {"optimizer": "paged-adamw-8bit"}),
        ({"optim": "adamw_torch_8bit"}, "train", {"optimizer": "adamw-8bit"}),
        ({"optim": "adafactor", "neftune_noise_alpha": 5}, "train",
         {"optimizer": "adafactor", "neftune_alpha": 5.0}),
        ({"loraplus_lr_ratio": 16, "pissa_init": True}, "method",
         {"learning_rate_ratio": 16.0, "init": "pissa"}),
        ({"report_to": ["wandb"]}, "train", {"trackers": ["wandb"]}),
        ({"max_samples": 500}, "data", {"limit": 500}),
        ({"val_size": 0.1}, "data", {"validation_share": 0.1}),
        ({"default_system": "Be brief."}, "data", {"system": "Be brief."}),
        ({"model_revision": "0" * 40}, "base",
         {"model": f"hub:Qwen/Qwen2.5-0.5B-Instruct@{'0' * 40}"}),
    ],
)  # fmt: skip
def test_what_a_key_becomes(
    folder: Path, keys: dict[str, Any], table: str, values: dict[str, Any]
) -> None:
    found = manifest(folder, **keys)[table]
    assert {key: found[key] for key in values} == values


@pytest.mark.parametrize(
    ("dataset", "form", "columns"),
    [
        ("own", "instruction", {}),
        ("talks", "sharegpt", {}),
        ("openai", "messages", {"messages": "turns"}),
        ("turns", "messages", {"messages": "conversations"}),
        ("renamed", "instruction", {"instruction": "question", "output": "answer"}),
    ],
)
def test_what_a_data_set_becomes(
    folder: Path, dataset: str, form: str, columns: dict[str, str]
) -> None:
    data = manifest(folder, dataset=dataset)["data"]
    assert data["train"] == str(folder / "data" / f"{dataset}.jsonl")
    assert data["format"] == form
    assert data.get("columns", {}) == columns


def test_tools_of_pairs_are_read_in_both_spellings(folder: Path) -> None:
    data = manifest(folder, dataset="called_pairs", stage="dpo")["data"]
    assert (data["format"], data["columns"]) == ("ranking", {"tools": "functions"})


@pytest.mark.parametrize(
    ("dataset", "source"),
    [
        ("hub", "hub:org/rows@main#train_sft"),
        ("part", "hub:org/rows@v2#socratic:train"),
        ("both", "hub:org/rows@main#train"),
    ],
)
def test_which_rows_of_a_repository(folder: Path, dataset: str, source: str) -> None:
    assert manifest(folder, dataset=dataset)["data"]["train"] == source


def test_turns_of_other_tags_are_taken_where_they_are_read_alike(folder: Path) -> None:
    assert manifest(folder, dataset="users")["data"]["format"] == "sharegpt"


def test_sets_of_a_mix_have_columns_and_limits_of_their_own(folder: Path) -> None:
    data = manifest(folder, dataset="renamed,own,few", max_samples=100)["data"]
    assert data["limit"] == 100
    assert data["columns"] == {"instruction": "question", "output": "answer"}
    assert data["mix"] == [
        {"source": str(folder / "data" / "own.jsonl"), "format": "instruction", "limit": 100},
        {"source": str(folder / "data" / "few.jsonl"), "format": "instruction", "limit": 7},
    ]


def test_several_data_sets_are_a_mix(folder: Path) -> None:
    data = manifest(folder, dataset="own,talks,hub", eval_dataset="few")["data"]
    assert data["mix"] == [
        {"source": str(folder / "data" / "talks.jsonl"), "format": "sharegpt"},
        {"source": "hub:org/rows@main#train_sft"},
    ]
    assert data["validation"] == str(folder / "data" / "few.jsonl")
    assert data["limit_validation"] == 7
    assert "validation_share" not in data
    limited = manifest(folder, eval_dataset="own", max_samples=9)["data"]
    assert (limited["limit"], limited["limit_validation"]) == (9, 9)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"stage": "ppo"}, "stage: the stage `ppo` is not imported"),
        ({"stage": "dpo", "dataset": "own"}, "dataset: `own` has one answer to a question"),
        ({"stage": "dpo", "dataset": "pairs", "pref_loss": "kto_pair"}, "pref_loss: the loss"),
        ({"stage": "dpo", "dataset": "pairs", "pref_bco_weight": 0.5}, "pref_bco_weight: this"),
        (
            {"stage": "dpo", "dataset": "pairs", "pref_loss": "orpo", "pref_ftx": 1.0},
            "pref_ftx: `orpo` has no weight",
        ),
        ({"finetuning_type": "freeze"}, "finetuning_type: `freeze` is not there"),
        ({"quantization_bit": 8}, "quantization_bit: bases are NF4 or not quantized"),
        ({"quantization_bit": 4, "quantization_type": "fp4"}, "quantization_bit: bases are NF4"),
        ({"lr_scheduler_type": "polynomial"}, "lr_scheduler_type: the schedule `polynomial`"),
        ({"warmup_steps": 100}, "warmup_steps: how many steps there are"),
        ({"optim": "lion"}, "optim: the optimizer `lion` is not there"),
        ({"val_size": 100}, "val_size: a share of the rows"),
        ({"additional_target": "embed_tokens"}, "additional_target: modules trained in full"),
        ({"use_galore": True}, "use_galore: this optimizer is not there"),
        ({"mask_history": True, "train_on_prompt": True}, "mask_history: it contradicts"),
        ({"report_to": "comet"}, "report_to: the tracker `comet` is not there"),
        ({"learning_rate": "fast"}, "learning_rate: it is no number"),
        ({"bf16": "maybe"}, "bf16: it is neither true nor false"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size: it is no whole number"),
        ({"model_name_or_path": "llama"}, "model_name_or_path: `llama` is neither a folder nor"),
        ({"dataset": "gone"}, "dataset: `gone` is not in dataset_info.json"),
        ({"dataset": "folded"}, "dataset: `folded` is a folder of a repository"),
        ({"dataset": "sliced"}, "dataset: `sliced` takes `train[:100]`"),
        ({"dataset": "cut"}, "dataset: `cut` has the split `test`"),
        ({"dataset": "odd"}, "dataset: `odd` has `answers`, which is not imported"),
        ({"dataset": "scripted"}, "dataset: `scripted` has `script_url`, which is not imported"),
        ({"dataset": "speakers"}, "dataset: `speakers` has turns whose user_tag is `doctor`"),
        ({"dataset": "mixed"}, "dataset: `mixed` has turns of neither"),
        ({"dataset": "tagged"}, "dataset: `tagged` has the tag `tool_tag`"),
        ({"eval_dataset": "talks"}, "eval_dataset: its rows have another form"),
        ({"dataset": "pairs"}, "dataset: `pairs` has pairs of answers"),
        ({"dataset": "pictures"}, "dataset: `pictures` has a column of images"),
        ({"dataset": "called"}, "dataset: `called` has a column of tools"),
        ({"dataset_dir": "elsewhere"}, "dataset: there is no `"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_reason(
    folder: Path, keys: dict[str, Any], words: str
) -> None:
    assert refusal(folder, **keys).startswith(words)


@pytest.mark.parametrize(
    "keys", [{"use_galore": False}, {"mix_strategy": "concat"}, {"remove_unused_columns": False}]
)
def test_what_is_switched_off_stands_in_nobodys_way(folder: Path, keys: dict[str, Any]) -> None:
    assert convert(folder, **keys).refused == ()


def note(folder: Path, key: str, **keys: Any) -> Note:
    (found,) = [note for note in convert(folder, **keys).notes if note.key == key]
    return found


@pytest.mark.parametrize("given", [True, False])
def test_code_of_a_repository_is_not_run_whatever_is_trusted(folder: Path, given: bool) -> None:
    """It stands in nearly all of LLaMA-Factory's own examples."""
    assert "trust" not in str(manifest(folder, trust_remote_code=given))
    said = note(folder, "trust_remote_code", trust_remote_code=given)
    assert (said.outcome, said.to) == ("no effect", ())
    assert said.why.startswith("code of a model's repository is never run")


def test_what_differs_is_said(folder: Path) -> None:
    template = note(folder, "template", template="qwen")
    assert template.outcome == "differs"
    assert "base's own chat template" in template.why
    packing = note(folder, "packing", packing=True)
    assert packing.outcome == "differs"
    assert "do not see each other" in packing.why
    assert note(folder, "val_size").outcome == "differs"


def test_plain_text_is_pre_training(folder: Path) -> None:
    found = manifest(folder, stage="pt", dataset="renamed", eval_dataset="renamed")
    assert found["data"]["format"] == "text"
    assert found["data"]["columns"] == {"text": "question"}
    assert found["train"]["packing"] is True
    assert found["train"]["loss_on"] == "all"


@pytest.mark.parametrize(
    ("keys", "objective"),
    [
        ({}, {"kind": "dpo", "loss": "sigmoid", "beta": 0.1, "sft_weight": 0.0,
              "label_smoothing": 0.0}),
        ({"pref_loss": "ipo", "pref_beta": 0.3, "pref_ftx": 0.5},
         {"kind": "dpo", "loss": "ipo", "beta": 0.3, "sft_weight": 0.5}),
        ({"dpo_label_smoothing": 0.1}, {"kind": "dpo", "loss": "sigmoid", "beta": 0.1,
                                        "sft_weight": 0.0, "label_smoothing": 0.1}),
        ({"pref_loss": "orpo"}, {"kind": "orpo", "beta": 0.1}),
        ({"pref_loss": "simpo", "pref_beta": "2.5", "simpo_gamma": 1.2},
         {"kind": "simpo", "beta": 2.5, "gamma": 1.2}),
    ],
)  # fmt: skip
def test_pairs_have_the_objective_of_their_loss(
    folder: Path, keys: dict[str, Any], objective: dict[str, Any]
) -> None:
    found = manifest(folder, stage="dpo", dataset="pairs", **keys)
    assert found["objective"] == objective
    assert found["data"]["format"] == "ranking"
    assert "columns" not in found["data"]


def test_what_goes_before_the_answers_of_pairs_is_not_learnt_anyway(folder: Path) -> None:
    found = manifest(folder, stage="dpo", dataset="pairs", mask_history=True)
    assert found["train"]["loss_on"] == "completion"


def test_pairs_of_talks_keep_their_columns(folder: Path) -> None:
    data = manifest(folder, stage="dpo", dataset="talked")["data"]
    assert data["columns"] == {"conversations": "turns", "chosen": "good", "rejected": "bad"}


def test_thinking_that_is_off_is_an_argument_of_the_template(folder: Path) -> None:
    assert manifest(folder, enable_thinking=False)["base"]["template_arguments"] == {
        "enable_thinking": False
    }
    assert "template_arguments" not in manifest(folder, enable_thinking=True)["base"]


@pytest.mark.parametrize("steps", [-1, 0])
def test_a_number_of_steps_that_is_none_is_off(folder: Path, steps: int) -> None:
    assert "max_steps" not in manifest(folder, max_steps=steps)["train"]


def test_the_nearest_listing_above_is_taken(folder: Path) -> None:
    deep = folder / "examples" / "train_lora"
    deep.mkdir(parents=True)
    assert manifest(deep)["data"]["train"] == str(folder / "data" / "own.jsonl")
    (deep / "data").mkdir()
    (deep / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    assert manifest(deep)["data"]["train"] == str(deep / "data" / "own.jsonl")
    (note,) = convert(deep, dataset_dir="elsewhere").refused
    assert f"there is no `{deep}/elsewhere/dataset_info.json`" in note.why
