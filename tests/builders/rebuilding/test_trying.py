"""`adapters try`: a few steps, unseen questions side by side, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterworks.cli.try_ import command as try_
from adapterworks.manifests.errors import InvalidInput
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("try")
    return Workshop(folder, make_tiny_base(folder / "base"))


def test_questions_are_shown_with_both_answers_and_nothing_is_kept(workshop: Workshop) -> None:
    manifest = workshop.manifest()
    result = workshop.invoke(try_, manifest, "--steps", "3", "--questions", "2", "--json")
    assert result.exit_code == 0, result.output or result.exception
    told = json.loads(result.stdout)
    assert told["steps"] == 3
    assert told["loss"][0] != told["loss"][1]
    lines = (workshop.folder / "test.jsonl").read_text().splitlines()
    turns = [json.loads(line)["messages"] for line in lines]
    asked = {(question["content"], answer["content"]) for question, answer in turns}
    assert len(told["shown"]) == 2
    for one in told["shown"]:
        assert (one["question"], one["wanted"]) in asked
        assert isinstance(one["base"], str)
        assert isinstance(one["adapter"], str)
    assert workshop.registry().names() == []
    assert list((workshop.home / "tmp").iterdir()) == []


def test_rows_without_questions_are_refused_before_anything_is_trained(
    workshop: Workshop, tmp_path: Path
) -> None:
    lines = "\n".join(json.dumps({"text": f"A sentence about {i}."}) for i in range(60))
    (tmp_path / "text.jsonl").write_text(lines)
    overrides = ["--set", f"data.train={tmp_path}/text.jsonl", "--set", "data.format=text"]
    for split in ("validation", "test"):
        overrides += ["--set", f"data.{split}={tmp_path}/text.jsonl"]
    overrides += ["--set", 'evaluate.metrics=["perplexity"]', "--set", "evaluate.gates=[]"]
    result = workshop.invoke(try_, workshop.manifest(), *overrides)
    assert isinstance(result.exception, InvalidInput)
    assert "there is no question to show: the rows are plain text" in result.exception.message
