"""A reward release rewards sampled answers: by its own numbers, on the policy's base, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.data.render import render_prompt
from adapterworks.builders.data.rows import chat
from adapterworks.builders.data.verdict import QUESTION
from adapterworks.builders.training.judge import Judge, answered_with
from adapterworks.cli.plan import command as plan
from tests.builders.build_support import TinyJob
from tests.builders.building.test_origins import pairs
from tests.builders.training.test_rollouts import Make, job  # noqa: F401 – a fixture
from tests.builders.workshop import Workshop

REWARD = '[objective]\nkind = "reward"\n'
GRPO = """
[objective]
kind = "grpo"
reward_release = "tiny-pairs@1"
reward_release_weight = 0.5
generations = 4
max_completion = 4
"""


@pytest.mark.train
def test_its_reward_is_that_of_the_release_and_the_policy_stays(
    job: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Read by hand from the adapter alone: log p(yes) − log p(no) behind answer and question."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made: TinyJob = job()
    trainer = made.trainer()
    with torch.no_grad():  # a reward of its own: B is not 0
        for name, parameter in trainer.bare.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    trainer.bare.save_pretrained(tmp_path / "reward")
    with torch.no_grad():
        for name, parameter in trainer.bare.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    before = {n: p.detach().clone() for n, p in trainer.bare.named_parameters()}
    rollouts = trainer.rollouts
    assert rollouts is not None
    judge = Judge(trainer.forward, rollouts.tokenizer, made.plan, tmp_path / "reward")
    rows = [answered_with(chat(f"q{n}", "unread"), text) for n, text in enumerate(("A1", "no"))]
    found = judge.rewards(rows, range(len(rows)))
    base = AutoModelForCausalLM.from_pretrained(made.base, dtype=torch.float32)
    alone = PeftModel.from_pretrained(base, tmp_path / "reward").eval()
    yes, no = (rollouts.tokenizer(t, add_special_tokens=False).input_ids[0] for t in ("yes", "no"))
    for number, (reward, text) in enumerate(zip(found, ("A1", "no"), strict=True)):
        turns: Any = [
            {"role": "user", "content": f"q{number}"},
            {"role": "assistant", "content": text},
            {"role": "user", "content": QUESTION},
        ]
        ids = torch.tensor([render_prompt(rollouts.tokenizer, turns)])
        logits = alone(input_ids=ids).logits[0, -1]
        assert reward == pytest.approx(float(logits[yes] - logits[no]), abs=1e-4)
    after = dict(trainer.bare.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trainer.bare.training


@pytest.mark.slow
@pytest.mark.train
def test_a_release_that_rewards_is_in_plan_lock_and_lineage(workshop: Workshop) -> None:
    path = Path(pairs(workshop, more=REWARD, epochs=4, rate=2e-2))
    text = path.read_text().replace(
        '["preference_accuracy", "preference_margin"]', '["verdict_accuracy"]'
    )
    path.write_text(text.replace("max_length = 64", "max_length = 160"))
    judge = workshop.json(str(path))
    built = workshop.json(workshop.manifest(epochs=1, rate=5e-3, more=GRPO))
    registry = workshop.registry()
    release = registry.release(built["digest"])
    assert [(one.relation, one.digest) for one in release.parents] == [("reward", judge["digest"])]
    lock = json.loads(registry.read(built["digest"], "adapter.lock"))
    assert lock["origins"] == {"reward": judge["digest"]}
    lines = registry.read(built["digest"], "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    assert all(step["reward_deviation"] > 0 for step in steps), "all answers are worth the same"
    # What was not trained for a reward is none.
    failed = workshop.build(
        workshop.manifest(more=GRPO.replace("tiny-pairs@1", "tiny@1"), rate=4e-3)
    )
    assert "was trained for `grpo`, not for a reward" in str(failed.exception)
    failed = workshop.invoke(plan, workshop.manifest("ia3", more=GRPO))
    assert "cannot be the reward of a training of `ia3`: it is `lora`" in str(failed.exception)
