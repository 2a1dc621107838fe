"""PPO on a tiny random base: what its value head reads, that a verifier's score rises, and that a
training that was killed ends as one that was not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.loop import Trainer
from adapterworks.builders.training.value_head import ValueHead
from tests.builders.build_support import TinyJob
from tests.builders.training.test_rollouts import Make, job, scripted  # noqa: F401 – a fixture
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train

PPO: dict[str, Any] = {
    "kind": "ppo",
    "rewards": ["exact_match"],
    "generations": 4,
    "max_completion": 6,
}
# The `job` fixture's own keys are GRPO's; PPO has the same and more.


def head_of(trainer: Trainer) -> ValueHead:
    head = trainer.forward.critic
    assert isinstance(head, ValueHead)
    return head


def with_values(trainer: Trainer) -> ValueHead:
    """A head that says something: of zero, every place reads alike."""
    head = head_of(trainer)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        head.weight.copy_(torch.randn(len(head.weight), generator=generator))
        head.bias.fill_(0.25)
    return head


def test_a_value_is_read_from_the_state_before_its_token(job: Make) -> None:  # noqa: F811
    """By hand from the model's own hidden states, side by side and behind a shared beginning."""
    trainer = job(objective=PPO).trainer()
    head = with_values(trainer)
    prompt = [0, 7, 8, 9, 40]
    answers = ([50, 51, 52, 1], [60, 1], [70, 71, 72, 73, 74])
    sequences = [
        TokenSequence(
            torch.tensor([*prompt, *answer]),
            torch.tensor([-100] * len(prompt) + answer),
        )
        for answer in answers
    ]
    trainer.bare.eval()
    expected = []
    for sequence in sequences:
        with torch.no_grad():
            model: Any = trainer.bare.get_base_model()  # type: ignore[operator]
            states = model.model(input_ids=sequence.input_ids[None]).last_hidden_state[0]
        before = states[len(prompt) - 1 : -1]
        expected.append(before @ head.weight + head.bias)
    by_hand = torch.cat(expected)
    side_by_side = trainer.forward.plain_scores(sequences)
    assert side_by_side.expected is not None
    torch.testing.assert_close(side_by_side.expected, by_hand, rtol=1e-4, atol=1e-5)
    rows = EncodedSet(tuple((s,) for s in sequences), (1.0,) * 3)
    for trainer.forward.shares_prefix, packing in ((True, False), (False, True)):
        scores = trainer.forward.scores(rows, [0, 1, 2], packing=packing)
        assert scores.expected is not None
        assert scores.expected.requires_grad
        torch.testing.assert_close(scores.expected.detach(), by_hand, rtol=1e-4, atol=1e-5)


def test_the_head_begins_with_nothing_and_changes_nothing_of_the_policy(
    job: Make,  # noqa: F811
) -> None:
    """A policy begins as it does without one, and gets the loss's gradient through it later on."""
    own, other = job("ppo", objective=PPO).trainer(), job("grpo").trainer()
    head = head_of(own)
    assert not head.weight.any()
    assert not head.bias.any()
    policy = dict(other.bare.named_parameters())
    begun = {n: p for n, p in own.bare.named_parameters() if "value_head" not in n}
    assert begun.keys() == policy.keys()
    assert all(torch.equal(begun[name], policy[name]) for name in policy)
    groups = own.optimizer.optimizer.param_groups
    times = {len(group["params"]): group.get("times", 1.0) for group in groups}
    assert times == {2: 10.0, sum(p.requires_grad for p in policy.values()): 1.0}


def test_every_answer_is_learnt_from_and_knows_what_was_expected(job: Make) -> None:  # noqa: F811
    """Also those of a group whose rewards are equal: PPO compares with its own expectation."""
    trainer, _ = scripted(job(objective=PPO), ["A0", "A0", "A0", "A0"])
    assert trainer.rollouts is not None
    with_values(trainer)
    found = trainer.rollouts.collect(trainer.rows["train"], [0, 1], 3)
    assert (len(found.rows), found.metrics["skipped_groups"]) == (8, 0.0)
    assert found.rows.counts == (3.0,) * 8
    sequences = [example[0] for example in found.rows.examples]
    scores = trainer.forward.plain_scores(sequences)
    assert scores.expected is not None
    for place, sequence in enumerate(sequences):
        learnt = sequence.labels != -100
        own = scores.expected[scores.owners == place]
        torch.testing.assert_close(sequence.columns["expected"][learnt], own, rtol=0, atol=1e-5)
        assert not sequence.columns["expected"][~learnt].any()
        assert sequence.values["reward"] == (1.0 if place < 4 else 0.0), "row 0 asks for A0"
        returns = sequence.columns["return"][learnt]
        assert float(returns[-1]) == pytest.approx(sequence.values["reward"], abs=1e-4)


def test_a_step_updates_the_weights_once_a_part(job: Make) -> None:  # noqa: F811
    trainer, _ = scripted(
        job(objective={**PPO, "epochs": 3, "minibatches": 2}), ["A0", "A1", "no", "nothing"]
    )
    counted = [0]
    step = trainer.optimizer.step

    def counting() -> None:
        counted[0] += 1
        step()

    trainer.optimizer.step = counting
    taken = trainer._step([0, 1])
    assert counted[0] == 6
    answers = 2 * (3 + 3 + 3 + 8)
    assert taken.tokens > 3 * answers, "each answer three times, its prompt with it"
    assert {"value_loss", "clip_share", "kl", "entropy", "reward"} <= taken.metrics.keys()
    assert taken.metrics["value_loss"] > 0


def test_adalora_prunes_once_a_step(job: Make) -> None:  # noqa: F811
    """Four epochs over a step's answers are four updates; it ends with its declared ranks."""
    given = {**PPO, "rewards": ["chrf"], "epochs": 2, "beta": 0.0}
    trainer = job(kind="adalora", objective=given, epochs=3.0).trainer()
    trainer.run()
    left = {n: int((p != 0).sum()) for n, p in trainer.bare.named_parameters() if "lora_E" in n}
    assert 0 < sum(left.values()) <= 8 * len(left)


def test_a_killed_training_ends_as_one_that_was_not(job: Make) -> None:  # noqa: F811
    """Samples, order of the minibatches, value head and its moments: every weight to the bit."""
    given: dict[str, Any] = {"objective": {**PPO, "rewards": ["chrf"], "minibatches": 2}}
    whole, part = job("whole", **given), job("part", **given)
    trained = whole.trainer()
    trained.run()
    part.trainer().run(until=part.plan.evaluate_every + 1)  # beyond the checkpoint: taken again
    resumed = part.trainer()
    assert head_of(resumed).weight.any(), "its values are not in the checkpoint"
    resumed.run()
    for (name, one), (_, other) in zip(
        trained.bare.named_parameters(), resumed.bare.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    adapter = whole.adapter()
    assert adapter.keys() == part.adapter().keys()
    assert all(torch.equal(tensor, part.adapter()[name]) for name, tensor in adapter.items())
    assert all(".lora_" in name for name in adapter), "the value head is no part of a release"
    told = [(one.folder.parent / "samples.jsonl").read_text() for one in (whole, part)]
    assert told[0] == told[1]
    losses = [
        [(e["loss"], e["kl"]) for e in read_events(one.folder / "events.jsonl") if "kl" in e]
        for one in (whole, part)
    ]
    assert losses[0][-1] == losses[1][-1]


def started(made: TinyJob) -> Trainer:
    """After a few steps on answers of which one is right: away from where it began."""
    trainer, _ = scripted(made, ["A0", "A1", "no", "nothing"])
    for _ in range(3):
        trainer._step([0, 2, 4])
        trainer.progress.step += 1
    return trainer


@pytest.mark.parametrize("kind", ["grpo", "rloo", "ppo"])
def test_the_start_is_the_reference_also_after_the_first_step(
    job: Make,  # noqa: F811
    kind: str,
) -> None:
    """Of a new adapter there is no folder to read it from; it is not what the policy has become."""
    table = {**PPO, "kind": kind, "beta": 0.1}
    trainer = started(job(objective=table))
    rollouts = trainer.rollouts
    assert rollouts is not None
    rows = rollouts.collect(trainer.rows["train"], [0], 5).rows
    (sequence,) = rows.examples[0]
    fresh = job("fresh", objective=table).trainer()
    fresh.bare.eval()
    began = fresh.forward.plain_scores([sequence]).logprobs
    learnt = sequence.labels != -100
    torch.testing.assert_close(sequence.columns["reference"][learnt], began, rtol=0, atol=1e-6)
    moved = (sequence.columns["old"] - sequence.columns["reference"])[learnt].abs().max()
    assert float(moved) > 1e-3, "the policy has not moved"


def test_asking_the_start_leaves_the_policy_as_it_is(job: Make) -> None:  # noqa: F811
    trainer = started(job(objective=PPO))
    before = {name: p.detach().clone() for name, p in trainer.bare.named_parameters()}
    with trainer.forward.reference_policy("start", None):
        inside = dict(trainer.bare.named_parameters())
        assert any(not torch.equal(before[name], inside[name]) for name in before)
    after = dict(trainer.bare.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_from_manifest_to_release(workshop: Workshop) -> None:
    """A whole build; what is told and released is as of any other objective."""
    table = (
        '[objective]\nkind = "ppo"\nrewards = ["chrf"]\ngenerations = 4\nmax_completion = 4\n'
        "epochs = 2\n"
    )
    built = workshop.json(workshop.manifest(epochs=2, rate=5e-3, more=table))
    training = built["report"]["training"]
    assert (training["reported"], training["unit"]) == ("reward", "mean reward")
    assert training["beginning"]["reference"] == "start"
    assert training["beginning"]["max_difference"] <= 1e-5
    release = workshop.registry().release(built["digest"])
    assert release.provenance.objective == "ppo"
    assert not [path for path in release.files if "value" in str(path)]
