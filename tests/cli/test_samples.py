"""`adapters samples`: the newest build's prompts and answers, the best answer first."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.samples import command
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
    write(tmp_path, "tiny-abc", 5, 100.0)
    write(tmp_path, "tiny-def", 2, 200.0)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, arguments, obj=app)
        assert result.exit_code == 0, result.output
        return result.output

    told = run("tiny").splitlines()
    assert told[0] == "step 1, row 10: of tiny-def how?"
    assert told[1].startswith("     1.500  good good")
    assert told[1].endswith("…")
    assert told[2] == "     0.000  bad"
    assert told[3] == "step 2, row 20: of tiny-def how?"
    assert len(told) == 6
    older = json.loads(run("tiny-abc", "--last", "2", "--json"))
    assert [line["step"] for line in older] == [4, 5]
    assert older[0]["answers"][1] == "good\u2028" * 60
    (only,) = json.loads(run("tiny-abc", "--step", "3", "--json"))
    assert only["row"] == 30
    missing = CliRunner().invoke(command, ["other"], obj=app)
    assert missing.exit_code != 0
    assert "no build of `other` here has samples" in str(missing.exception)
