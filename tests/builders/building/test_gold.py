"""PPO raises a verifier that no reward has seen: of a base that can speak, by a reward of pairs.

A random base shows no learning: its logits are nearly equal whatever it has read. So it is first
fine-tuned to answer with four letters, vowels and others alike; then a reward is trained on pairs
of such answers, of which the one with more vowels is better; then PPO learns from that reward
alone. The share of vowels is counted here, by nobody else.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builders.workshop import Workshop

VOWELS, OTHERS = "aeiou", "bcdfg"
MANIFEST = """
[adapter]
name = "{name}"
[base]
model = "{base}"
[method]
kind = "{kind}"
[data]
format = "{format}"
train = "{name}-train.jsonl"
validation = "{name}-validation.jsonl"
test = "{name}-test.jsonl"
[train]
max_length = 160
{train}
[evaluate]
metrics = ["{metric}"]
max_new_tokens = 8
{more}
"""


def word(rng: random.Random) -> str:
    return "".join(rng.choice(VOWELS + OTHERS) for _ in range(4))


def gold(answer: str) -> float:
    """The share of its letters that are vowels."""
    return sum(letter in VOWELS for letter in answer) / len(answer) if answer else 0.0


def spoken(rng: random.Random, start: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"word {number}?"},
                {"role": "assistant", "content": word(rng)},
            ]
        }
        for number in range(start, start + count)
    ]


def compared(rng: random.Random, start: int, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        better, worse = sorted((word(rng), word(rng)), key=gold, reverse=True)
        if gold(better) > gold(worse):
            asked = f"word {start + len(rows)}?"
            rows.append({"prompt": asked, "chosen": better, "rejected": worse})
    return rows


class School:
    """A workshop with the stages of one training after the other."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.rng = workshop, random.Random(1)

    def build(self, name: str, base: Path | str, rows: Any, counts: Any, **given: str) -> Any:
        for split, (start, count) in zip(("train", "validation", "test"), counts, strict=True):
            lines = (json.dumps(row) + "\n" for row in rows(self.rng, start, count))
            (self.workshop.folder / f"{name}-{split}.jsonl").write_text("".join(lines))
        path = self.workshop.folder / f"{name}.toml"
        path.write_text(MANIFEST.format(name=name, base=base, **given))
        return self.workshop.json(str(path))

    def golds(self, name: str) -> list[float]:
        """Of each step, the mean share of vowels of what was sampled."""
        (path,) = (self.workshop.home / "builds").glob(f"{name}-*/samples.jsonl")
        by_step: dict[int, list[float]] = {}
        for line in map(json.loads, path.read_text().splitlines()):
            by_step.setdefault(line["step"], []).extend(map(gold, line["answers"]))
        return [sum(by_step[step]) / len(by_step[step]) for step in sorted(by_step)]


@pytest.mark.slow
@pytest.mark.train
def test_ppo_raises_what_no_reward_has_seen(workshop: Workshop) -> None:
    school = School(workshop)
    fluent = school.build(
        "fluent",
        workshop.base,
        spoken,
        ((0, 2000), (5000, 100), (6000, 20)),
        kind="full",
        format="messages",
        train="epochs = 3\nlearning_rate = 3e-3\nbatch_size = 32",
        metric="exact_match",
        more="",
    )
    base = workshop.folder / "fluent"
    shutil.copytree(workshop.registry().checkout(fluent["digest"], "full"), base)
    for file in base.rglob("*"):
        file.chmod(0o644)
    judge = school.build(
        "judge",
        base,
        compared,
        ((0, 1200), (5000, 60), (6000, 200)),
        kind="lora",
        format="preference",
        train="epochs = 4\nlearning_rate = 5e-3\nbatch_size = 32",
        metric="verdict_accuracy",
        more='[objective]\nkind = "reward"\ncenter = 0.01',
    )
    values = judge["report"]["metrics"]["verdict_accuracy"]["values"]
    assert values["candidate"] > 0.7
    assert values["base"] < 0.6
    school.build(
        "policy",
        base,
        spoken,
        ((0, 320), (5000, 40), (6000, 20)),
        kind="lora",
        format="messages",
        train="epochs = 4\nlearning_rate = 3e-4\nbatch_size = 16",
        metric="exact_match",
        more='[objective]\nkind = "ppo"\nreward_release = "judge@1"\ngenerations = 4\n'
        'max_completion = 6\nbeta = 0.1\n[objective.alarms]\naction = "warn"',
    )
    found = school.golds("policy")
    first, last = sum(found[:4]) / 4, sum(found[-20:]) / 20
    assert len(found) == 80
    # 256 answers of four letters at first, 1,280 at last: 0.06 is four standard errors.
    assert last - first > 0.06, found
