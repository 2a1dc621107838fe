"""`adapters samples`: the newest build's prompts and answers, the best answer first."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.samples import command
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.settings import Settings


def write(home: Path, build: str, steps: int, age: float) -> None:
    path = home / "builds" / build / "samples.jsonl"
    path.parent.mkdir(parents=True)
    lines = (
        {
            "step": step,
            "row": 10 * step,
            "question": f"of {build}\nhow?",
            "answers": ["bad", "good\u2028" * 60],
            "rewards": [0.0, 1.5],
        }
        for step in range(1, steps + 1)
    )
    told = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(told + told[:20])  # the training is writing the next one
    os.utime(path, (age, age))


def test_the_newest_builds_samples_with_the_best_answer_first(tmp_path: Path) -> None:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    write(tmp_path, "tiny-0123456789ab", 5, 100.0)
    write(tmp_path, "tiny-ba9876543210", 2, 200.0)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, arguments, obj=app)
        assert result.exit_code == 0, result.output
        return result.output

    told = run("tiny").splitlines()
    assert told[0] == "step 1, row 10: of tiny-ba9876543210 how?"
    assert told[1].startswith("     1.500  good good")
    assert told[1].endswith("…")
    assert told[2] == "     0.000  bad"
    assert told[3] == "step 2, row 20: of tiny-ba9876543210 how?"
    assert len(told) == 6
    older = json.loads(run("tiny-0123456789ab", "--last", "2", "--json"))
    assert [line["step"] for line in older] == [4, 5]
    assert older[0]["answers"][1] == "good\u2028" * 60
    (only,) = json.loads(run("tiny-0123456789ab", "--step", "3", "--json"))
    assert only["row"] == 30
    missing = CliRunner().invoke(command, ["other"], obj=app)
    assert missing.exit_code != 0
    assert "no build of `other` here has samples" in str(missing.exception)


def test_another_adapters_samples_are_not_shown(tmp_path: Path) -> None:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    write(tmp_path, "medical-ppo-0123456789ab", 1, 200.0)
    missing = CliRunner().invoke(command, ["medical"], obj=app)
    assert isinstance(missing.exception, NotFound)
    write(tmp_path, "medical-ba9876543210", 1, 100.0)
    shown = CliRunner().invoke(command, ["medical"], obj=app).output
    assert "of medical-ba9876543210" in shown
    for pattern in ("med*", "medical-*", "[m]edical", "", "..", "medical/.."):
        refused = CliRunner().invoke(command, [pattern], obj=app).exception
        assert isinstance(refused, NotFound | InvalidInput), pattern


def test_a_builds_folder_may_be_named_by_its_path(tmp_path: Path) -> None:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    long = "m" * 64 + "-0123456789ab"
    write(tmp_path, long, 1, 200.0)
    for name in (long, str(tmp_path / "builds" / long), f"{tmp_path}/builds/{long}/"):
        told = CliRunner().invoke(command, [name], obj=app)
        assert told.exit_code == 0, told.exception
        assert f"of {long}" in told.output
    for name in ("/etc/passwd", f"{tmp_path}/elsewhere/{long}"):
        refused = CliRunner().invoke(command, [name], obj=app).exception
        assert isinstance(refused, InvalidInput)
        assert "is no folder of a build" in refused.message


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    write(tmp_path, "tiny-0123456789ab", 2, 100.0)
    path = tmp_path / "builds" / "tiny-0123456789ab" / "samples.jsonl"
    with path.open("ab") as file:
        file.write('{"step": 3, "question": "où'.encode()[:-1])
    told = CliRunner().invoke(command, ["tiny", "--json"], obj=app)
    assert told.exit_code == 0, told.exception
    assert [line["step"] for line in json.loads(told.output)] == [1, 2]
