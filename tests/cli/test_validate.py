"""`adapters validate` as a person and as a program sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from adapterworks.cli.main import cli

RUN = "from adapterworks.cli.main import main; main()"
FAULTY = """\
[adapter]
name = "Demo"

[base]
model = "smollm2-135m-instruct"
quantisation = "nf4"

[method]
kind = "lora"
rank = "16"

[data]
train = "icd-10-cm:train"

[evaluate]
metrics = ["exact_match"]

[[evaluate.gates]]
metric = "bleu"
"""


def test_a_data_file_that_is_missing_is_noted_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    sound = FAULTY.replace('"Demo"', '"demo"').replace("quantisation", "quantization")
    sound = sound.replace('"16"', "16").split("[[evaluate.gates]]")[0]
    path.write_text(sound.replace("icd-10-cm:train", "rows.jsonl"))
    told = CliRunner().invoke(cli, ["validate", str(path)])
    assert told.exit_code == 0, told.output
    assert told.stdout == f"{path}: ok\n"
    assert f"names files that do not exist: `{tmp_path / 'rows.jsonl'}`" in told.stderr
    (tmp_path / "rows.jsonl").touch()
    assert CliRunner().invoke(cli, ["validate", str(path)]).stderr == ""


def test_five_faults_are_five_lines_and_exit_code_two(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(FAULTY)
    done = subprocess.run(
        [sys.executable, "-c", RUN, "validate", str(path), "medical"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    faults = [line for line in lines if line.startswith(f"{path}:")]
    assert [line.split(":")[1:3] for line in faults] == [
        ["2", " adapter.name"],
        ["6", " base.quantisation"],
        ["10", " method.rank"],
        ["18", " evaluate.gates"],
        ["19", " evaluate.gates[0].metric"],
    ]
    assert "  hint: did you mean `quantization`?" in lines
    assert lines[-1] == "medical: ok (with quick, a10-llama2-7b)"


def test_json_has_the_faults_and_the_profiles(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(FAULTY)
    result = CliRunner().invoke(cli, ["validate", str(path), "code", "--json"])
    assert result.exit_code == 2
    faulty, good = json.loads(result.stdout)
    assert faulty["ok"] is False
    assert [fault["line"] for fault in faulty["faults"]] == [2, 6, 10, 18, 19]
    assert good == {
        "manifest": "code",
        "ok": True,
        "profiles": ["quick", "codellama-34b"],
        "imports": [],
        "faults": [],
    }


def test_profile_and_set_are_honoured() -> None:
    run = CliRunner().invoke
    assert run(cli, ["validate", "medical", "--profile", "quick"]).exit_code == 0
    result = run(cli, ["validate", "medical", "--profile", "quick", "--set", "train.epochs=x"])
    assert result.exit_code == 2
    assert '--set: train.epochs: expected a number, got the string "x"' in result.stdout


def test_one_that_is_not_there_keeps_no_other_from_being_checked(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(FAULTY)
    absent = str(tmp_path / "absent.toml")
    result = CliRunner().invoke(cli, ["validate", absent, str(path), "--json"])
    assert result.exit_code == 2
    first, second = json.loads(result.stdout)
    assert (first["manifest"], first["ok"]) == (absent, False)
    assert "there is no manifest" in first["faults"][0]["message"]
    assert len(second["faults"]) == 5
