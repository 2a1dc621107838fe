"""A training whose rewards a judge gives: what it learns, what a kill costs, and its budget."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from adapterworks.builders.rewards.asking import KEPT
from adapterworks.builders.training.events import read_events
from adapterworks.manifests.errors import Refused
from tests.builders.endpoints.standin import Asked, completion, endpoint
from tests.builders.training.test_rollouts import Make, job, scripted

__all__ = ["job"]
Reply = tuple[int, Any, dict[str, str]]


def first_letter(body: dict[str, Any]) -> Reply:
    """Prefers what comes first in the alphabet, so that most groups have a best answer."""
    shown = str(body["messages"][-1]["content"])
    one, other = shown.split("ANSWER A\n")[1].split("ANSWER B\n")
    said = "tie" if one[:1] == other[:1] else "A" if one[:1] < other[:1] else "B"
    return 200, completion(f"Verdict: {said}"), {}


def judged(asked: Asked, **more: Any) -> dict[str, Any]:
    table = {"endpoint": f"{asked.url}#judge", **more}
    return {"objective": {"rewards": [], "judge": table}}


@pytest.mark.train
def test_a_verdict_is_an_advantage(job: Make) -> None:
    with endpoint(first_letter) as asked:
        trainer, _ = scripted(job(**judged(asked)), ["bb", "aa", "cc", "dd"])
        assert trainer.rollouts is not None
        found = trainer.rollouts.collect(trainer.rows["train"], [0], 0)
        trainer.rollouts.external.close()
    assert found.metrics["reward"] == pytest.approx(0.5)
    assert found.metrics["judge_abstained"] == 0.0
    assert found.metrics["judge_tokens"] == 80.0
    # In the ring aa beats both beside it, bb loses to aa and beats dd, cc beats dd alone.
    wins = torch.tensor([0.5, 1.0, 0.5, 0.0])
    expected = (wins - wins.mean()) / (wins.std() + 1e-4)
    values = [example[0].values["advantage"] for example in found.rows.examples]
    assert values == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.train
def test_a_killed_training_asks_nothing_twice_and_ends_the_same(job: Make) -> None:
    """Its second part is answered otherwise than the first, had it asked again: it does not."""
    with endpoint(first_letter) as asked:
        whole = job("whole", **judged(asked))
        whole.run()
        told = whole.folder.parent / "samples.jsonl"
        part = job("part", **judged(asked))
        asked.bodies.clear()
        part.trainer().run(until=part.plan.evaluate_every + 1)  # beyond the checkpoint
        before = len(asked.bodies)
        kept = (part.folder.parent / KEPT).read_text().splitlines()
        # Each is there twice: what it may cost before it is sent, what it has cost after.
        assert before == len({json.loads(line)["request"] for line in kept}) == len(kept) / 2 > 0
        part.run()
        bodies = [json.dumps(body, sort_keys=True) for body in asked.bodies]
        assert len(bodies) == len(set(bodies)) > before
    for name, tensor in whole.adapter().items():
        assert torch.equal(tensor, part.adapter()[name]), name
    assert told.read_text() == (part.folder.parent / "samples.jsonl").read_text()
    steps = [e for e in read_events(part.folder / "events.jsonl") if e["event"] == "step"]
    assert all("judge_tokens" in event for event in steps)


@pytest.mark.slow
@pytest.mark.train
def test_a_spent_budget_stops_it_and_a_larger_one_goes_on(job: Make) -> None:
    with endpoint(first_letter) as asked:
        poor = job("one", **judged(asked, max_tokens=3000))
        with pytest.raises(Refused, match="the judge's budget of 3000 tokens is used up"):
            poor.run()
        assert 10 * len(asked.bodies) <= 3000
        rich = job("other", **judged(asked))
        rich.folder.parent.joinpath(KEPT).write_bytes(
            poor.folder.parent.joinpath(KEPT).read_bytes()
        )
        rich.run()
        bodies = [json.dumps(body, sort_keys=True) for body in asked.bodies]
        assert len(bodies) == len(set(bodies))
