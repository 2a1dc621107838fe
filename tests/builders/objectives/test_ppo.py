"""PPO's credit and losses against equations in NumPy and float64, and against autograd."""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import TokenSequence, behind_shared, packed, padded
from adapterworks.builders.objectives.credit import advantages, token_rewards, whitened
from adapterworks.builders.objectives.objective import Loss, objective_of
from adapterworks.builders.objectives.ppo import Ppo
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import objective_table
from tests.builders.build_support import manifest_for
from tests.builders.objectives import formulas

LENGTHS = (3, 1, 5, 9)
REWARDS = (1.0, -0.5, 0.0, 2.5)
SETTINGS = {"epsilon": 0.2, "epsilon_value": 0.3, "value_weight": 0.4, "beta": 0.07}
PARTS = """
[adapter]
name = "tiny"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
[objective]
kind = "ppo"
rewards = ["exact_match"]
generations = 1
minibatches = {minibatches}
[train]
batch_size = 8
"""
Part = list[torch.Tensor]


def drawn(seed: int, scale: float = 1.0) -> Part:
    """[tokens] float64 of each answer, in ±scale."""
    generator = torch.Generator().manual_seed(seed)
    return [
        scale * (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1) for n in LENGTHS
    ]


def configured(**settings: Any) -> Ppo:
    table = {"kind": "ppo", "rewards": ("exact_match",), "max_completion": 9, **settings}
    found = OBJECTIVES["ppo"].configured(objective_table("ppo").model_validate(table))
    assert isinstance(found, Ppo)
    return found


def sequences() -> list[TokenSequence]:
    """Answers behind prompts of 2 to 5 tokens, as they were sampled: columns are 0 outside them."""
    made = []
    parts = zip(drawn(1), drawn(2), drawn(3, 2.0), REWARDS, strict=True)
    for number, (old, reference, expected, reward) in enumerate(parts):
        prompt, length = number + 2, len(old)
        ids = torch.arange(prompt + length) + 10 * number
        labels = torch.cat((torch.full((prompt,), -100), ids[prompt:]))
        columns = {
            name: torch.cat((torch.zeros(prompt, dtype=torch.float64), values))
            for name, values in (("old", old), ("reference", reference), ("expected", expected))
        }
        made.append(TokenSequence(ids, labels, columns, {"reward": reward, "advantage": reward}))
    return made


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("trace", [0.0, 0.95, 1.0])
def test_advantages_are_the_sum_of_surprises(discount: float, trace: float) -> None:
    for rewards, expected in zip(drawn(4), drawn(5), strict=True):
        own = advantages(rewards, expected, discount, trace)
        by_hand = formulas.generalized_advantages(
            rewards.numpy(), expected.numpy(), discount, trace
        )
        assert own.dtype == torch.float64
        np.testing.assert_allclose(own.numpy(), by_hand, rtol=1e-12, atol=1e-12)


def test_advantages_worked_out_by_hand() -> None:
    """γ = ½, λ = ½: δ = (1 + 1 − 1, 0 + 4 − 2, 3 − 8) = (1, 2, −5), then back from the end."""
    rewards, expected = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([1.0, 2.0, 8.0])
    found = advantages(rewards, expected, 0.5, 0.5)
    assert found.tolist() == [1 + 0.25 * 0.75, 2 + 0.25 * -5, -5.0]
    whole = advantages(rewards, expected, 1.0, 1.0)
    assert whole.tolist() == [4.0 - 1, 3.0 - 2, 3.0 - 8], "λ = 1: what came, less what was expected"


def test_a_reward_comes_at_the_end_and_the_divergence_at_every_token() -> None:
    for reward, policy, reference in zip(REWARDS, drawn(6), drawn(7), strict=True):
        own = token_rewards(reward, policy - reference, 0.3)
        by_hand = formulas.divergence_in_rewards(reward, policy.numpy(), reference.numpy(), 0.3)
        np.testing.assert_allclose(own.numpy(), by_hand, rtol=1e-12)
    assert token_rewards(2.0, torch.zeros(3), 0.3).tolist() == [0.0, 0.0, 2.0]
    assert token_rewards(0.0, torch.ones(2), 0.3).tolist() == pytest.approx([-0.3, -0.3])


def test_whitening_is_over_all_tokens_of_the_step() -> None:
    given = drawn(8, 5.0)
    found = whitened(given)
    for own, by_hand in zip(found, formulas.whitened([v.numpy() for v in given]), strict=True):
        np.testing.assert_allclose(own.numpy(), by_hand, rtol=1e-12, atol=1e-12)
    together = torch.cat(found)
    assert float(together.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(together.var()) == pytest.approx(1.0, rel=1e-6)
    assert [one.tolist() for one in whitened([torch.tensor([3.0])])] == [[3.0]], "no spread of one"


@pytest.mark.parametrize("beta", [0.0, 0.07])
def test_what_a_step_credits_is_the_equations(beta: float) -> None:
    given = sequences()
    found = configured(beta=beta, discount=0.9, trace=0.8).credited(given)
    plain = [
        formulas.generalized_advantages(
            formulas.divergence_in_rewards(reward, old.numpy(), reference.numpy(), beta),
            expected.numpy(),
            0.9,
            0.8,
        )
        for reward, old, reference, expected in zip(
            REWARDS, drawn(1), drawn(2), drawn(3, 2.0), strict=True
        )
    ]
    white = formulas.whitened(plain)
    for number, (sequence, before) in enumerate(zip(found, given, strict=True)):
        learnt = before.labels != -100
        assert not sequence.columns["advantage"][~learnt].any(), "a prompt has no advantage"
        assert not sequence.columns["return"][~learnt].any()
        np.testing.assert_allclose(sequence.columns["advantage"][learnt], white[number], rtol=1e-9)
        expected = before.columns["expected"][learnt].numpy()
        np.testing.assert_allclose(
            sequence.columns["return"][learnt], plain[number] + expected, rtol=1e-9
        )
        assert torch.equal(sequence.labels, before.labels)
        assert torch.equal(sequence.columns["old"], before.columns["old"])


@dataclasses.dataclass
class Given:
    """What a micro batch says: of each answer, [tokens]."""

    policy: Part
    old: Part
    advantages: Part
    expected: Part
    before: Part
    returns: Part
    reference: Part

    def scores(self) -> Scores:
        owners = torch.tensor([i for i, tokens in enumerate(self.policy) for _ in tokens])
        columns = {
            "old": torch.cat(self.old),
            "advantage": torch.cat(self.advantages),
            "expected": torch.cat(self.before),
            "return": torch.cat(self.returns),
            "reference": torch.cat(self.reference),
        }
        policy, expected = torch.cat(self.policy), torch.cat(self.expected)
        return Scores(policy, owners, len(self.policy), columns, expected=expected)

    def by_hand(self) -> tuple[float, float]:
        parts = (
            [tokens.detach().numpy() for tokens in part]
            for part in (
                self.policy,
                self.old,
                self.advantages,
                self.expected,
                self.before,
                self.returns,
            )
        )
        return formulas.ppo(*parts, epsilon=0.2, epsilon_value=0.3, weight=0.4)


@pytest.fixture
def given() -> Given:
    """Some ratios and values are beyond their clips, some within."""
    policy, expected = drawn(10), drawn(11)
    return Given(
        [tokens.requires_grad_() for tokens in policy],
        [p.detach() + moved for p, moved in zip(policy, drawn(12, 0.5), strict=True)],
        drawn(13, 2.0),
        [tokens.requires_grad_() for tokens in expected],
        [v.detach() + moved for v, moved in zip(expected, drawn(14, 0.8), strict=True)],
        drawn(15, 1.5),
        drawn(16),
    )


def measured(given: Given, **settings: Any) -> Loss:
    return configured(**{**SETTINGS, **settings}).losses(given.scores())


def test_the_loss_is_the_equation(given: Given) -> None:
    own = measured(given)
    assert (own.sum.item(), own.count) == pytest.approx(given.by_hand(), rel=1e-12)
    assert 0 < float(own.metrics["clip_share"]) < own.count
    assert 0 < float(own.metrics["value_clip_share"]) < own.count, "one clip was never tried"


def test_a_tokens_policy_loss_is_weighted_by_how_it_was_drawn(given: Given) -> None:
    """By π_old/μ, at most the cap; the value loss is not."""
    before, plain = given.scores(), measured(given)
    policy, old, credit = (
        torch.cat(part).detach() for part in (given.policy, given.old, given.advantages)
    )
    apart = torch.cat(drawn(31, 0.9)) - 0.3
    before.columns["drawn"] = old - apart  # type: ignore[index]
    ratios = (policy - old).exp()
    losses = -torch.min(ratios * credit, ratios.clamp(0.8, 1.2) * credit)
    weights = apart.exp().clamp(max=1.5)
    assert 0 < int((apart.exp() > 1.5).sum()) < len(apart)
    objective = configured(epsilon=0.2, epsilon_value=0.3, value_weight=0.4, importance_cap=1.5)
    moved = float((objective.losses(before).sum - plain.sum).detach())
    assert moved == pytest.approx(float(((weights - 1) * losses).sum()), rel=1e-9)


def test_every_gradient_is_that_of_the_plain_formula(given: Given) -> None:
    """Where a clip decides, a token or a value has no gradient at all."""
    own = measured(given)
    mine = torch.autograd.grad(own.sum, [*given.policy, *given.expected])
    total = torch.zeros((), dtype=torch.float64)
    free = [0, 0]
    for p, o, a, v, b, r in zip(
        given.policy,
        given.old,
        given.advantages,
        given.expected,
        given.before,
        given.returns,
        strict=True,
    ):
        for token in range(len(p)):
            ratio = torch.exp(p[token] - o[token])
            clipped = (ratio < 0.8 and a[token] < 0) or (ratio > 1.2 and a[token] > 0)
            if not clipped:
                total = total - ratio * a[token]
                free[0] += 1
            moved = v[token] - b[token]
            held = b[token] + moved.clamp(-0.3, 0.3)
            if (v[token] - r[token]).abs() >= (held - r[token]).abs():
                total = total + 0.4 * 0.5 * (v[token] - r[token]) ** 2
                free[1] += 1
    assert all(0 < n < sum(LENGTHS) for n in free)
    parts = [*given.policy, *given.expected]
    plain = torch.autograd.grad(total, parts, materialize_grads=True)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_on_what_was_just_sampled_it_is_reinforce_with_the_token_s_advantage(given: Given) -> None:
    fresh = dataclasses.replace(
        given,
        old=[tokens.detach() for tokens in given.policy],
        before=[tokens.detach() for tokens in given.expected],
    )
    own = measured(fresh)
    gradients = torch.autograd.grad(own.sum, [*given.policy, *given.expected])
    values = zip(given.expected, given.returns, strict=True)
    expected = [-a for a in given.advantages] + [0.4 * (v - r).detach() for v, r in values]
    for gradient, by_hand in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, by_hand)
    assert float(own.metrics["clip_share"]) == 0.0
    assert float(own.metrics["value_clip_share"]) == 0.0


def test_a_divergence_is_told_where_there_is_a_reference(given: Given) -> None:
    own = measured(given)
    policy, reference = ([t.detach().numpy() for t in p] for p in (given.policy, given.reference))
    kl = np.mean(
        [np.mean(np.exp(r - p) - (r - p) - 1) for p, r in zip(policy, reference, strict=True)]
    )
    assert float(own.metrics["kl"]) / own.count == pytest.approx(kl)
    assert "kl" not in measured(given, beta=0.0).metrics
    assert (configured().reference, configured(beta=0.0).reference) == (True, False)


def test_each_epoch_learns_from_every_answer_once_in_another_order() -> None:
    objective = configured(epochs=3, minibatches=4)
    parts = objective.updates(10, seed=7)
    assert [len(part) for part in parts] == [3, 3, 2, 2] * 3
    epochs = [[*chain(*parts[start : start + 4])] for start in (0, 4, 8)]
    assert all(sorted(epoch) == [*range(10)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert parts == objective.updates(10, seed=7)
    assert parts != objective.updates(10, seed=8)
    assert all(objective.updates(2, seed=1)), "fewer answers than parts leave none empty"


def test_more_parts_than_answers_are_refused(tmp_path: Path) -> None:
    """Of 8 prompts with one answer each: 9 parts would leave one empty."""
    for minibatches, faults in ((8, []), (9, ["9 parts of a step's 8 answers (8 prompts × 1)"])):
        (tmp_path / "tiny.toml").write_text(PARTS.format(minibatches=minibatches))
        found = check_manifest(tmp_path / "tiny.toml")[1]
        assert [fault.message for fault in found] == faults


def manifest(**settings: Any) -> Manifest:
    return manifest_for("lora", objective={"kind": "ppo", "rewards": ["exact_match"], **settings})


def test_what_is_unusual_is_said_with_who_found_otherwise() -> None:
    def said(**settings: Any) -> list[str]:
        one = manifest(**settings)
        return [lint.key for lint in objective_of(one).lints(one)]

    assert said() == []
    assert said(value_learning_rate=0.5) == ["objective.value_learning_rate"]
    assert said(epochs=5) == ["objective.epochs"]
    assert said(generations=1) == ["train.batch_size"]
    assert said(beta=0.0) == []
    assert said(beta=0.0, reward_release="judge@1") == ["objective.beta"]


def test_masks_hold_in_every_layout() -> None:
    """Columns of an answer stand at its own tokens, wherever the layout puts them."""
    given = configured(**SETTINGS).credited(sequences())
    shared = [
        dataclasses.replace(one, input_ids=torch.cat((torch.tensor([5, 5]), one.input_ids[2:])))
        for one in given
    ]
    answers = [one.columns["return"][one.labels != -100] for one in given]
    for batch in (padded(given, 0), packed(given), behind_shared(shared)):
        targets = batch.labels[:, 1:]
        kept = targets != -100
        returns, owners = batch.columns["return"][:, 1:][kept], batch.owners[:, 1:][kept]
        for number, expected in enumerate(answers):
            torch.testing.assert_close(
                returns[owners == number].double(), expected, rtol=1e-6, atol=1e-6
            )
