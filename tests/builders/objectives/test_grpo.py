"""Losses of sampled answers against TRL's own code and against equations in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.objective import objective_table
from tests.builders.objectives import formulas, trl_grpo

LENGTHS = (3, 1, 5, 9)
ADVANTAGES = (1.2, -0.7, 0.3, -1.5)
Given = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]
KINDS = ("dapo", "grpo", "dr_grpo", "gspo", "rloo")


@pytest.fixture
def given() -> Given:
    """Policy, policy when it sampled, reference: some ratios are beyond the clip, some within."""
    generator = torch.Generator().manual_seed(3)

    def answers(scale: float) -> list[torch.Tensor]:
        draw = [torch.rand(n, generator=generator, dtype=torch.float64) for n in LENGTHS]
        return [-scale * tokens for tokens in draw]

    policy = answers(2.0)
    old = [p + 0.6 * (t + 1.0) for p, t in zip(policy, answers(2.0), strict=True)]
    return [tokens.requires_grad_() for tokens in policy], old, answers(2.0)


def configured(kind: str, **settings: Any) -> Objective:
    name = "rloo" if kind == "rloo" else "grpo"
    table = {"kind": name, "rewards": ("exact_match",), "max_completion": 9, **settings}
    if name == "grpo":
        table["loss"] = kind
    return OBJECTIVES[name].configured(objective_table(name).model_validate(table))


def scores_of(given: Given) -> Scores:
    policy, old, reference = given
    owners = torch.tensor([i for i, tokens in enumerate(policy) for _ in tokens])
    columns = {"old": torch.cat(old), "reference": torch.cat(reference)}
    values = {"advantage": torch.tensor(ADVANTAGES, dtype=torch.float64)}
    return Scores(torch.cat(policy), owners, len(policy), columns, values)


def measured(kind: str, given: Given, **settings: Any) -> Loss:
    return configured(kind, **settings).losses(scores_of(given))


def gradients(loss: torch.Tensor, given: Given) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, given[0]))


@pytest.mark.parametrize(
    ("kind", "beta"),
    # TRL's RLOO has the divergence in the reward, where it is no part of this loss.
    [(kind, beta) for kind in KINDS for beta in (0.0, 0.3) if kind != "rloo" or not beta],
)
def test_the_loss_and_every_gradient_are_trls(given: Given, kind: str, beta: float) -> None:
    settings = {} if kind == "rloo" else {"epsilon_high": 0.28}
    own = measured(kind, given, beta=beta, **settings)
    advantages = torch.tensor(ADVANTAGES, dtype=torch.float64)
    high = settings.get("epsilon_high", 0.2)
    theirs = trl_grpo.loss(
        given[0], given[1], advantages, kind, reference=given[2], beta=beta, high=high
    )
    assert own.sum.item() / own.count == pytest.approx(theirs.item(), abs=1e-6)
    pairs = zip(gradients(own.sum / own.count, given), gradients(theirs, given), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_equation(given: Given, kind: str) -> None:
    policy, old, reference = ([t.detach().numpy() for t in part] for part in given)
    total, count = formulas.clipped_policy_gradient(
        policy, old, reference, ADVANTAGES, kind, beta=0.3, low=0.2, high=0.2, most=9
    )
    own = measured(kind, given, beta=0.3)
    assert (own.sum.item(), own.count) == pytest.approx((total, count), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_on_what_was_just_sampled_it_is_reinforce(given: Given, kind: str) -> None:
    """With ratio 1 everywhere a token's gradient is −A, divided as the loss says."""
    fresh = (given[0], [tokens.detach() for tokens in given[0]], given[2])
    own = measured(kind, fresh)
    for number, gradient in enumerate(gradients(own.sum, fresh)):
        share = 1 / LENGTHS[number] if kind in ("grpo", "gspo") else 1.0
        expected = torch.full_like(gradient, -ADVANTAGES[number] * share)
        torch.testing.assert_close(gradient, expected)
    assert float(own.metrics["clip_share"]) == 0.0


@pytest.mark.parametrize("cap", [1.2, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_drawn_otherwise_than_it_is_learnt_is_weighted(
    given: Given, kind: str, cap: float
) -> None:
    """By π_old/μ at most `cap`, in the unit of the objective's ratios: a token, a whole answer
    (RLOO), the geometric mean of an answer's (GSPO). The divergence is not weighted."""
    policy, old, reference = ([t.detach().numpy() for t in part] for part in given)
    generator = np.random.default_rng(4)
    drawn = [o + generator.normal(0.0, 0.4, len(o)) for o in old]
    total = 0.0
    for p, o, r, d, a in zip(policy, old, reference, drawn, ADVANTAGES, strict=True):
        ratios, weights = np.exp(p - o), np.minimum(np.exp(o - d), cap)
        if kind == "gspo":
            ratios = np.full(len(p), np.exp(np.mean(p - o)))
            weights = np.full(len(p), min(np.exp(np.mean(o - d)), cap))
        if kind == "rloo":
            ratios, weights = np.exp(np.sum(p - o)), min(np.exp(np.sum(o - d)), cap)
        losses = -weights * np.minimum(ratios * a, np.clip(ratios, 0.8, 1.2) * a)
        divergence = 0.3 * (np.exp(r - p) - (r - p) - 1)
        own = np.sum(losses) + np.sum(divergence)
        total += own / len(p) if kind in ("grpo", "gspo") else own
    scores = scores_of(given)
    scores.columns["drawn"] = torch.cat([torch.tensor(d) for d in drawn])  # type: ignore[index]
    found = configured(kind, beta=0.3, importance_cap=cap).losses(scores)
    assert found.sum.item() == pytest.approx(total, rel=1e-9)
    alike = scores_of(given)
    alike.columns["drawn"] = alike.columns["old"]  # type: ignore[index]
    plain = measured(kind, given, beta=0.3)
    assert configured(kind, beta=0.3).losses(alike).sum.item() == pytest.approx(plain.sum.item())
    assert found.sum.item() != pytest.approx(plain.sum.item(), rel=1e-3)


def test_what_a_step_is_divided_by() -> None:
    assert [configured(kind).count(7) for kind in KINDS] == [7.0, 1.0, 9.0, 1.0, 1.0]


def test_advantages_of_a_group() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
    deviation = np.sqrt(1 / 3), 1.0
    found = configured("dapo").advantages(rewards)  # type: ignore[attr-defined]
    assert found[0].tolist() == pytest.approx(
        [s * 0.5 / (deviation[0] + 1e-4) for s in (1, -1, -1, 1)]
    )
    assert found[1].tolist() == pytest.approx([v / 1.0001 for v in (1.5, -0.5, -0.5, -0.5)])
    assert configured("dr_grpo").advantages(rewards)[1].tolist() == [1.5, -0.5, -0.5, -0.5]  # type: ignore[attr-defined]
    left_out = configured("rloo").advantages(rewards)[1].tolist()  # type: ignore[attr-defined]
    assert left_out == pytest.approx([2.0, -2 / 3, -2 / 3, -2 / 3])
    for kind in KINDS:  # a constant on all rewards of a group changes nothing
        one = configured(kind).advantages(rewards)  # type: ignore[attr-defined]
        torch.testing.assert_close(one, configured(kind).advantages(rewards + 5))  # type: ignore[attr-defined]


def test_metrics_are_means_over_answers(given: Given) -> None:
    own = measured("dapo", given)
    policy, old, _ = ([t.detach().numpy() for t in part] for part in given)
    entropy = np.mean([-tokens.mean() for tokens in policy])
    assert float(own.metrics["entropy"]) / own.count == pytest.approx(entropy)
    clipped = []
    for p, o, a in zip(policy, old, ADVANTAGES, strict=True):
        ratio = np.exp(p - o)
        clipped.append(np.mean(((ratio < 0.8) & (a < 0)) | ((ratio > 1.2) & (a > 0))))
    assert 0 < np.mean(clipped) < 1
    assert float(own.metrics["clip_share"]) / own.count == pytest.approx(np.mean(clipped))
    assert "kl" not in own.metrics
    assert "kl" in measured("dapo", given, beta=0.1).metrics


def test_a_reference_is_there_where_there_is_a_divergence() -> None:
    assert not configured("dapo").reference
    assert configured("dapo", beta=0.1).reference
    assert not OBJECTIVES["grpo"].reference, "what one manifest says is not another's"
