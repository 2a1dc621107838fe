"""`adapters import llama-factory`: a manifest is written whole, validated, or not at all."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused
from adapterworks.manifests.load import load_manifest

CONFIG = """
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
model_revision: 7ae557604adf67be50417f59c2c2f167def9a775
dataset: own
finetuning_type: lora
lora_rank: 16
learning_rate: 1e-4
bf16: true
plot_loss: true
"""
INFO = {"own": {"file_name": "own.jsonl"}}
ROW = {"instruction": "Give the code.", "input": "Fever", "output": "R50.9"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with its rows, in a folder beside the working directory."""
    folder = tmp_path / "theirs"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    (folder / "data" / "own.jsonl").write_text(f"{json.dumps(ROW)}\n" * 40)
    (folder / "train.yaml").write_text(CONFIG)
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    return folder / "train.yaml"


def run(*arguments: str | Path) -> str:
    words = ["import", *map(str, arguments)]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_it_writes_a_manifest_that_is_valid(config: Path) -> None:
    said = run("llama-factory", config, "--as", "support")
    assert "wrote support.toml" in said
    assert "next: adapters plan support.toml" in said
    loaded = load_manifest("support.toml")
    assert loaded.adapter.name == "support"
    assert loaded.train.learning_rate == 1e-4
    assert loaded.train.epochs == 3.0
    # Rows are named as the manifest's folder sees them.
    assert loaded.data.train == "../theirs/data/own.jsonl"
    text = Path("support.toml").read_text()
    assert text.startswith("# From train.yaml of LLaMA-Factory.\n")
    assert "rank = 16  # lora_rank 16\n" in text
    assert "epochs = 3.0  # num_train_epochs's default\n" in text


def test_every_key_is_listed(config: Path) -> None:
    said = run("llama-factory", config)
    (line,) = [line for line in said.splitlines() if line.startswith("plot_loss")]
    assert "no effect" in line
    (line,) = [line for line in said.splitlines() if line.startswith("lora_rank 16")]
    assert line.split()[-2:] == ["mapped", "method.rank"]


def test_a_refused_key_writes_nothing_until_it_is_left_out(config: Path) -> None:
    config.write_text(CONFIG + "use_galore: true\nuse_badam: true\n")
    with pytest.raises(Refused, match="2 of its keys") as refused:
        run("llama-factory", config, "--as", "support")
    assert "use_galore True: this optimizer is not there" in str(refused.value)
    assert "use_badam True: this optimizer is not there" in str(refused.value)
    assert list(Path().iterdir()) == []
    leave = ("--leave-out", "use_galore", "--leave-out", "use_badam")
    said = run("llama-factory", config, "--as", "support", *leave)
    assert "left out: use_galore" in said
    assert "# Left out: use_galore, use_badam.\n" in Path("support.toml").read_text()
    with pytest.raises(InvalidInput, match="no key `lora_rnak`"):
        run("llama-factory", config, "--leave-out", "lora_rnak")


def test_what_is_there_already_stays(config: Path) -> None:
    Path("mine.toml").write_text("mine")
    with pytest.raises(InvalidInput, match=r"`mine\.toml` exists already"):
        run("llama-factory", config, "--out", "mine.toml")
    assert Path("mine.toml").read_text() == "mine"


def test_faults_of_the_manifest_are_said(config: Path) -> None:
    config.write_text(CONFIG.replace("lora_rank: 16", "lora_rank: 4096"))
    outcome = CliRunner().invoke(cli, ["import", "llama-factory", str(config), "--as", "support"])
    assert "support.toml:11: method.rank: " in outcome.output
    assert "next:" not in outcome.output
    assert isinstance(outcome.exception, InvalidInput)
    assert "`support.toml` was written, and 1 of its keys" in str(outcome.exception)
    assert Path("support.toml").exists()


@pytest.mark.parametrize("date", ["2025-02-30", "2025-01-15", "!!timestamp 2025-01-15"])
def test_a_date_is_a_text(config: Path, date: str) -> None:
    place = _axolotl(config)
    place.write_text(place.read_text() + f"run_name: {date}\n")
    told: dict[str, Any] = json.loads(run("axolotl", place, "--json"))
    notes = {note["key"]: note["value"] for note in told["notes"]}
    assert notes["run_name"] == date.removeprefix("!!timestamp ")


@pytest.mark.parametrize("value", ["!!set {a, b}", "!!int ''", "!!float x", "!!pairs [a: 1]"])
def test_what_json_has_not_is_no_configuration(config: Path, value: str) -> None:
    place = _axolotl(config)
    place.write_text(place.read_text() + f"run_name: {value}\n")
    with pytest.raises(InvalidInput, match="is no YAML"):
        run("axolotl", place, "--json")


def test_patterns_of_modules_are_keys_of_toml(config: Path) -> None:
    place = _axolotl(config)
    patterns = "lora_rank_pattern: {layers.0.q_proj: 4, '^model.layers.1.*': 16, plain: 2}\n"
    place.write_text(place.read_text() + patterns)
    run("axolotl", place)
    method = tomllib.loads(Path("axolotl.toml").read_text())["method"]
    assert method["rank_pattern"] == {"layers.0.q_proj": 4, "^model.layers.1.*": 16, "plain": 2}


def test_data_sets_are_found_from_where_the_program_was_started(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`examples/train_lora/x.yaml` beside `data/`, as in LLaMA-Factory's own repository."""
    deep = config.parent / "examples" / "train_lora"
    deep.mkdir(parents=True)
    config.rename(deep / "x.yaml")
    monkeypatch.chdir(config.parent)
    run("llama-factory", Path("examples/train_lora/x.yaml"), "--as", "support")
    assert tomllib.loads(Path("support.toml").read_text())["data"]["train"] == "data/own.jsonl"


def test_json_has_notes_and_faults(config: Path) -> None:
    told: dict[str, Any] = json.loads(run("axolotl", _axolotl(config), "--json"))
    assert told["manifest"] == "axolotl.toml"
    assert told["faults"] == []
    notes = {note["key"]: note for note in told["notes"]}
    assert notes["lora_r"] == {
        "key": "lora_r",
        "value": 4,
        "outcome": "mapped",
        "to": ["method.rank"],
        "why": "",
    }
    assert tomllib.loads(Path("axolotl.toml").read_text())["method"]["rank"] == 4


def _axolotl(config: Path) -> Path:
    place = config.with_name("axolotl.yml")
    place.write_text(
        "base_model: Qwen/Qwen2.5-0.5B-Instruct\n"
        "revision_of_model: 7ae557604adf67be50417f59c2c2f167def9a775\n"
        "datasets: [{path: data/own.jsonl, type: alpaca}]\n"
        "adapter: lora\nlora_r: 4\nlora_alpha: 8\nlora_target_linear: true\nlearning_rate: 1e-4\n"
    )
    return place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "no table of keys"),
        ("a: [1,\n", "no YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "no YAML"),
        ("1: x\n", "no table of keys"),
    ],
)
def test_what_is_no_configuration(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        run("llama-factory", config)


def test_anything_else_is_an_adapter(config: Path) -> None:
    """`adapters import ./my-lora` as before there were configurations."""
    with pytest.raises(Exception, match="Missing parameter: name"):
        run("./my-lora")
    assert "llama-factory" in run("--help")


@pytest.mark.usefixtures("home")
def test_a_folder_that_is_called_as_a_command_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`adapter` is what training programs call it; with a source behind it, it is the command."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for words in (("adapter",), ("adapter", "adapter")):
        with pytest.raises(AdapterworksError, match="no-such-base"):
            run(*words, "--as", "x", "--base", "no-such-base")
    with pytest.raises(AdapterworksError, match="elsewhere"):
        run("adapter", "elsewhere", "--as", "x", "--base", "smollm2-135m-instruct")
