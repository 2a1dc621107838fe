"""A whole alignment build on rows of a constitution, judged: from prompts to the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.cli.constitutional import command as constitutional
from tests.builders.building.test_origins import PAIRS, pairs
from tests.builders.endpoints.standin import completion, endpoint
from tests.builders.synthesis.test_constitutional import kind_of, scripted
from tests.builders.workshop import Workshop

MORE = """
[evaluate.safety]
on = true
limit = 4
max_new_tokens = 4
max_over_refusal = 1.0
[evaluate.judge]
endpoint = "{url}#judge"
[[evaluate.gates]]
metric = "win_rate"
against = "start"
min_gain = -1.0
[[evaluate.gates]]
metric = "win_rate"
against = "base"
min_gain = 0.4
"""


def judge(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    """Writes as the constitution's test has it; of a build's answers none is better."""
    if body["model"] == "judge":
        return 200, completion("Verdict: tie"), {}
    return scripted(body)


@pytest.mark.train
def test_from_a_constitution_to_a_judged_release(workshop: Workshop) -> None:
    workshop.json(workshop.manifest(epochs=1, rate=2e-2))
    with endpoint(judge) as asked:
        path = Path(pairs(workshop, more=PAIRS + MORE.format(url=asked.url)))
        prompts = workshop.folder / "prompts.jsonl"
        prompts.write_text("".join(f'{{"prompt": "case {n}?"}}\n' for n in range(24)))
        words = [str(prompts), "--model", f"{asked.url}#writer"]
        words += ["--out", str(workshop.folder / "pairs-train.jsonl"), "--force"]
        made = workshop.invoke(constitutional, *words)
        assert "24 rows from 24 of 24 prompts" in made.output
        text = path.read_text().replace(
            '["preference_accuracy", "preference_margin"]', '["win_rate", "preference_accuracy"]'
        )
        path.write_text(text.replace("max_length = 64", "max_length = 160"))
        built = workshop.json(str(path))
        asks = [body for body in asked.bodies if body["model"] == "judge"]
    report = built["report"]
    (first, second, over, *_) = report["gates"]
    assert (first["passed"], second["passed"]) == (True, False)
    assert first["why"].startswith("win_rate: gain over start +0.0 points")
    assert over["kind"] == "safety"
    told = report["judge"]
    assert {*told["against"]} == {"base", "start"}
    assert told["asked"] == len([body for body in asks if kind_of(body) == "compare"])
    assert report["metrics"]["win_rate"]["values"] == {"base": 0.5, "start": 0.5, "candidate": 0.5}
    assert {*report["safety"]["against"]} == {"base", "start"}
    registry = workshop.registry()
    card = registry.read(built["digest"], "README.md").decode()
    assert f"## Judged\n\nWhich answer is better, by `judge` at `{asked.url}`" in card
    assert "## Safety\n\n4 harmful and 4 harmless requests" in card
    lines = registry.read(built["digest"], "predictions.jsonl").decode().splitlines()
    assert all(json.loads(line)["judged"]["start"] == 0.5 for line in lines)


@pytest.mark.train
def test_a_judge_that_is_not_there_is_known_before_the_training(workshop: Workshop) -> None:
    more = MORE.format(url="http://127.0.0.1:9/v1")
    path = Path(workshop.manifest(epochs=1, rate=2e-2, more=more.partition("[[evaluate")[0]))
    text = path.read_text().replace("#judge", '#judge"\nkey_env = "NO_SUCH_KEY_IS_SET')
    path.write_text(text)
    failed = workshop.build(str(path))
    assert "`NO_SUCH_KEY_IS_SET` is not set" in str(failed.exception)
    assert not list(workshop.home.glob("builds/*/train/checkpoints"))
