"""Answers that no verifier can read: they are worth 0, and end nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import code, metric
from adapterworks.builders.evaluation.metrics.metric import Prediction

DEEP = "-" * 1200 + "1"
LONG = "x = 0x" + "f" * 3600
RUFF_OVERFLOWS = "-" * 16000 + "1"


@pytest.mark.parametrize("name", ["ast_match", "ruff_clean"])
@pytest.mark.parametrize("answer", [DEEP, LONG, RUFF_OVERFLOWS], ids=["deep", "long", "ruff"])
def test_code_that_cannot_be_written_down_is_worth_nothing(name: str, answer: str) -> None:
    """Both among others, whose scores stay, and as what a training asks."""
    given = [Prediction(text) for text in ("x = 1", answer)]
    scores = metric(name).statistics(given, [chat("q", "x = 1")] * 2)
    assert scores.ravel().tolist() == [1.0, 0.0]
    assert metric(name).score(answer, chat("q", "x = 1")) == 0.0


def test_a_source_that_ends_the_linter_is_not_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its run are linted without it; what ruff refuses is a fault of the rules."""
    ran = code.run_ruff

    def killed(folder: Path, rules: Any) -> Any:
        if any("poison" in one.read_text() for one in folder.iterdir()):
            raise subprocess.CalledProcessError(-6, "ruff")
        return ran(folder, rules)

    monkeypatch.setattr(code, "run_ruff", killed)
    rows = [chat("q", "a", rule="UP031")] * 3
    given = [Prediction(text) for text in ("x = 1", "poison = 1", "x = '%s' % (x,)")]
    assert metric("ruff_clean").statistics(given, rows).ravel().tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(subprocess.CalledProcessError):
        metric("ruff_clean").score("x = 1", chat("q", "a", rule="no such rule"))


@pytest.mark.parametrize("number", ["1" + "0" * 320, "1e400", "NaN"])
def test_a_number_that_no_machine_has_is_no_multiple(number: str) -> None:
    schema = {"properties": {"p": {"type": "number", "multipleOf": 0.01}}}
    row = chat("q", "a", schema=schema)
    assert metric("json_schema").score('{"p": 0.25}', row) == 1.0
    assert metric("json_schema").score(f'{{"p": {number}}}', row) == 0.0
