"""TRL's configurations: every key that it has is known, and its defaults are what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.manifests.importing.conversion import Conversion
from adapterworks.manifests.importing.trl import convert
from adapterworks.manifests.importing.trl_keys import JOINT, RULES
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.toml import to_toml

# The configurations of trl 1.16.0 with those of transformers 5.19 that they extend, a key a line.
KEYS = Path(__file__).with_name("trl_1.16.0_keys.txt").read_text().split()
BASIC: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "model_revision": "0" * 40,
    "dataset_name": "trl-lib/Capybara",
    "output_dir": "out",
    "use_peft": True,
}


def trl(trainer: str = "sft", folder: Path = Path("/nowhere"), **keys: Any) -> Conversion:
    return convert(BASIC | keys, folder, "own", trainer=trainer)


def why(done: Conversion) -> dict[str, str]:
    return {note.key: note.why for note in done.refused}


def test_every_key_is_known() -> None:
    assert set(KEYS) - RULES.keys() - JOINT == set()


def test_no_key_has_two_rules_and_none_is_made_up() -> None:
    assert RULES.keys() & JOINT == set()
    # Of transformers 4 and of `TRAINING`, which other programs share.
    assert JOINT - set(KEYS) == {"warmup_ratio"}


def test_without_a_longest_row_rows_would_be_cut_in_silence() -> None:
    assert why(trl(max_length=None)) == {
        "max_length": "rows have a longest one here: name it, and none is cut"
    }


def test_a_folder_that_is_here_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "data" / "rows").mkdir(parents=True)
    done = trl(folder=tmp_path, dataset_name="data/rows")
    assert "is a folder here" in why(done)["dataset_name"]


def test_its_defaults_are_written_out(tmp_path: Path) -> None:
    done = trl()
    assert done.refused == ()
    assert done.manifest["method"] == {
        "kind": "lora",
        "rank": 16,
        "alpha": 32,
        "rslora": False,
        "dropout": 0.05,
        "target_modules": ["q_proj", "v_proj"],
    }
    assert done.manifest["objective"] == {"kind": "sft"}
    assert done.manifest["train"] == {
        "batch_size": 8,
        "micro_batch_size": 8,
        "epochs": 3.0,
        "learning_rate": 2e-5,
        "schedule": "linear",
        "warmup_ratio": 0.0,
        "optimizer": "adamw",
        "precision": "bf16",
        "gradient_checkpointing": True,
        "max_length": 1024,
        "on_overflow": "cut",
        "packing": False,
        "loss_on": "all",  # TRL learns whole chats, unless it is told to learn the answers alone
    }
    assert done.manifest["data"]["train"] == "hub:trl-lib/Capybara@main#train"
    assert done.manifest["data"]["format"] == "messages"
    done.manifest["data"]["train"] = f"hub:trl-lib/Capybara@{'1' * 40}#train"
    place = tmp_path / "own.toml"
    place.write_text(to_toml(done.manifest, {}))
    _, faults = check_manifest(place)
    assert [str(fault) for fault in faults] == []


@pytest.mark.parametrize(
    ("trainer", "rate", "form"),
    [
        ("sft", 2e-5, "messages"),
        ("dpo", 1e-6, "preference"),
        ("kto", 1e-6, "unpaired-preference"),
        ("reward", 1e-4, "preference"),
    ],
)
def test_each_trainer_has_its_rate_and_its_rows(
    trainer: str, rate: float, form: str, tmp_path: Path
) -> None:
    done = trl(trainer)
    assert done.refused == ()
    assert done.manifest["objective"]["kind"] == trainer
    assert done.manifest["train"]["learning_rate"] == rate
    assert done.manifest["data"]["format"] == form
    # What is compared with another policy has no dropout, as TRL switches it off.
    assert done.manifest["method"]["dropout"] == (0.05 if trainer == "sft" else 0.0)
    done.manifest["data"]["train"] = f"hub:trl-lib/rows@{'1' * 40}#train"
    place = tmp_path / "own.toml"
    place.write_text(to_toml(done.manifest, {}))
    _, faults = check_manifest(place)
    assert [str(fault) for fault in faults] == []


@pytest.mark.parametrize(
    ("row", "keys", "form", "learnt"),
    [
        ({"messages": []}, {}, "messages", "all"),
        ({"messages": []}, {"assistant_only_loss": True}, "messages", "completion"),
        ({"prompt": "a", "completion": "b"}, {}, "prompt-completion", "completion"),
        ({"prompt": "a", "completion": "b"}, {"completion_only_loss": False},
         "prompt-completion", "all"),
        ({"text": "a"}, {}, "text", "all"),
        ({"content": "a"}, {"dataset_text_field": "content"}, "text", "all"),
    ],
)  # fmt: skip
def test_a_files_columns_say_what_its_rows_are_and_what_of_them_is_learnt(
    row: dict[str, Any], keys: dict[str, Any], form: str, learnt: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    done = trl(folder=tmp_path, dataset_name="rows.jsonl", **keys)
    assert done.refused == ()
    assert done.manifest["data"]["format"] == form
    assert done.manifest["train"]["loss_on"] == learnt
    columns = {"text": "content"} if "content" in row else None
    assert done.manifest["data"].get("columns") == columns


def test_tables_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,completion\na,b\n")
    (tmp_path / "rows.json").write_text('[{"text": "a"}]')
    for name, form in (("rows.csv", "prompt-completion"), ("rows.json", "text")):
        done = trl(folder=tmp_path, dataset_name=name)
        assert done.manifest["data"]["format"] == form


def test_several_sets_are_a_mix_and_their_parts_are_named() -> None:
    sets = [
        {"path": "org/a", "name": "socratic", "split": "train_sft", "revision": "2" * 40},
        {"path": "org/b"},
    ]
    done = trl(datasets=sets)
    assert done.manifest["data"]["train"] == f"hub:org/a@{'2' * 40}#socratic:train_sft"
    assert done.manifest["data"]["mix"] == [{"source": "hub:org/b@main#train"}]
    fraction, unknown = {"path": "org/a", "fraction": 0.5}, {"path": "org/a", "nobody": 1}
    for wrong in (fraction, unknown, {"name": "a"}):
        assert "datasets" in why(trl(datasets=[wrong]))


def test_a_repository_may_have_a_dot_in_its_name_and_files_of_one_are_refused() -> None:
    done = trl(dataset_name="org/rows-v1.5")
    assert done.manifest["data"]["train"] == "hub:org/rows-v1.5@main#train"
    assert trl(dataset_name="data/rows.jsonl").manifest["data"]["train"] == "data/rows.jsonl"
    refused = why(trl(datasets=[{"path": "org/rows", "data_files": "train.jsonl"}]))
    assert "`train.jsonl` of `org/rows`" in refused["datasets"]


def test_a_split_is_validated_on_only_where_trl_would() -> None:
    assert trl().manifest["data"]["validation_share"] == 0.05
    done = trl(eval_strategy="steps", dataset_config="all", dataset_test_split="held")
    assert done.manifest["data"]["validation"] == "hub:trl-lib/Capybara@main#all:held"
    assert "validation_share" not in done.manifest["data"]
    assert trl(test_split_size=0.1).manifest["data"]["validation_share"] == 0.1


def test_dpo_weighs_the_chosen_answer_as_trl_lists_it() -> None:
    done = trl("dpo", loss_type=["sigmoid", "sft"], loss_weights=[2.0, 1.0], beta=0.3)
    objective = {"kind": "dpo", "loss": "sigmoid", "sft_weight": 0.5, "beta": 0.3}
    assert done.manifest["objective"] == objective | {"label_smoothing": 0.0}
    assert trl("dpo", loss_type="ipo").manifest["objective"]["loss"] == "ipo"
    assert "loss_type" in why(trl("dpo", loss_type=["sigmoid", "ipo"]))
    assert "loss_type" in why(trl("dpo", loss_type="apo_zero"))
    assert "loss_weights" in why(trl("dpo", loss_type=["sigmoid"], loss_weights=[1.0, 2.0]))
    assert "loss_weights" in why(trl("dpo", loss_type=["sigmoid"], loss_weights=[0.0]))
    assert "label_smoothing" in why(trl("dpo", loss_type="ipo", label_smoothing=0.1))


def test_kto_and_reward_have_their_numbers() -> None:
    done = trl("kto", desirable_weight=1.5, undesirable_weight=0.5, beta=0.2)
    assert done.manifest["objective"] == {
        "kind": "kto", "beta": 0.2, "good_weight": 1.5, "bad_weight": 0.5,
    }  # fmt: skip
    assert "loss_type" in why(trl("kto", loss_type="apo_zero_unpaired"))
    done = trl("reward", center_rewards_coefficient=0.01)
    assert done.manifest["objective"] == {"kind": "reward", "center": 0.01}


@pytest.mark.parametrize(
    ("trainer", "keys"),
    [
        ("sft", {"loss_type": "dft"}),
        ("sft", {"lora_modules_to_save": ["lm_head"]}),
        ("sft", {"load_in_8bit": True}),
        ("sft", {"bnb_4bit_quant_type": "fp4", "load_in_4bit": True}),
        ("sft", {"adam_beta2": 0.95}),
        ("sft", {"eos_token": "<|im_end|>"}),
        ("sft", {"nobody_knows": 1}),
        ("dpo", {"disable_dropout": False}),
        ("dpo", {"sync_ref_model": True}),
        ("dpo", {"f_divergence_type": "js_divergence"}),
        ("dpo", {"ld_alpha": 0.5}),
    ],
)
def test_what_would_be_trained_otherwise_is_refused_by_its_key(
    trainer: str, keys: dict[str, Any]
) -> None:
    refused = why(trl(trainer, **keys))
    assert set(refused) == {next(iter(keys))}
    assert all(refused.values())


def test_without_peft_it_is_trained_whole_and_not_in_four_bits() -> None:
    assert trl(use_peft=False).manifest["method"] == {"kind": "full"}
    assert "load_in_4bit" in why(trl(use_peft=False, load_in_4bit=True))
    done = trl(load_in_4bit=True)
    assert done.manifest["method"]["kind"] == "qlora"
    # Quantized once only, by TRL's default; ours is twice.
    assert done.manifest["base"]["double_quantization"] is False


def test_the_command_asks_for_the_trainer(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(BASIC | {"beta": 0.2}))
    out = tmp_path / "own.toml"
    arguments = ["import", "trl", str(config), "--trainer", "dpo", "--out", str(out), "--json"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    assert 'kind = "dpo"' in out.read_text()
    notes = {note["key"]: note for note in json.loads(result.stdout)["notes"]}
    assert notes["beta"]["to"] == ["objective.beta"]
    # Of sft, which is what is taken without a word, it is a key of another trainer.
    again = ["import", "trl", str(config), "--out", str(tmp_path / "again.toml")]
    result = CliRunner().invoke(cli, again, standalone_mode=False)
    assert result.exception is None, result.output
    assert 'kind = "sft"' in (tmp_path / "again.toml").read_text()
