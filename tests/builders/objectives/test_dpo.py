"""Losses of pairs against two oracles: TRL's own code, and the papers' equations in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.objective import objective_table
from tests.builders.objectives import formulas, trl_dpo, trl_odds
from tests.builders.workshop import Workshop

# Tokens of the chosen and of the rejected answer of each pair: unequal, so that sums and means
# differ, and one of a single token.
LENGTHS = ((3, 5), (1, 4), (6, 2), (4, 4))
BETA = 0.3
Given = tuple[list[torch.Tensor], list[torch.Tensor]]


@pytest.fixture
def given() -> Given:
    """Log-probabilities of policy and reference: of some pairs the margin is negative."""
    generator = torch.Generator().manual_seed(5)

    def answers(scale: float) -> list[torch.Tensor]:
        return [
            -scale * torch.rand(n, generator=generator, dtype=torch.float64)
            for pair in LENGTHS
            for n in pair
        ]

    policy = [tokens.requires_grad_() for tokens in answers(3.0)]
    return policy, answers(2.0)


def measured(kind: str, given: Given, **settings: Any) -> Loss:
    policy, reference = given
    table = objective_table(kind).model_validate({"kind": kind, **settings})
    owners = torch.tensor([i for i, tokens in enumerate(policy) for _ in tokens])
    columns = {"reference": torch.cat(reference)}
    scores = Scores(torch.cat(policy), owners, len(policy), columns)
    return OBJECTIVES[kind].configured(table).losses(scores)


def gradients(loss: torch.Tensor, given: Given) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, given[0]))


@pytest.mark.parametrize(
    ("settings", "kind", "smoothing"),
    [
        ({}, "sigmoid", 0.0),
        ({"loss": "hinge"}, "hinge", 0.0),
        ({"loss": "ipo"}, "ipo", 0.0),
        ({"loss": "robust", "label_smoothing": 0.2}, "robust", 0.2),
        ({"length_normalized": True}, "sigmoid_norm", 0.0),
    ],
)
def test_dpo_is_trls(
    given: Given, settings: dict[str, Any], kind: str, smoothing: float, request: Any
) -> None:
    """Loss and every token's gradient, from TRL's own `_compute_loss` on the same numbers."""
    if kind in ("ipo", "sigmoid_norm"):
        # TRL counts the completion's tokens of the mask before it is shifted: the same ones here.
        assert all(len(tokens) for tokens in given[0])
    own = measured("dpo", given, beta=BETA, **settings)
    theirs = trl_dpo.loss(*given, kind, beta=BETA, label_smoothing=smoothing)
    assert own.count == len(LENGTHS)
    assert own.sum.item() / own.count == pytest.approx(theirs.item(), abs=1e-6)
    for mine, other in zip(
        gradients(own.sum / own.count, given), gradients(theirs, given), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


def arrays(given: Given) -> list[list[np.ndarray[Any, np.dtype[np.float64]]]]:
    policy, reference = ([tokens.detach().numpy() for tokens in part] for part in given)
    return [policy[::2], policy[1::2], reference[::2], reference[1::2]]


CASES: list[tuple[str, dict[str, Any], Callable[..., float]]] = [
    ("dpo", {"beta": BETA}, lambda *a: formulas.dpo(*a, BETA)),
    (
        "dpo",
        {"beta": BETA, "label_smoothing": 0.1},
        lambda *a: formulas.conservative_dpo(*a, BETA, 0.1),
    ),
    (
        "dpo",
        {"beta": BETA, "loss": "robust", "label_smoothing": 0.1},
        lambda *a: formulas.robust_dpo(*a, BETA, 0.1),
    ),
    ("dpo", {"beta": BETA, "loss": "ipo"}, lambda *a: formulas.ipo(*a, BETA)),
    ("dpo", {"beta": BETA, "loss": "hinge"}, lambda *a: formulas.hinge(*a, BETA)),
    (
        "dpo",
        {"beta": BETA, "sft_weight": 0.7},
        lambda *a: formulas.dpo(*a, BETA) + 0.7 * formulas.mean_nats(a[0]),
    ),
    ("orpo", {"beta": 0.25}, lambda c, r, *_: formulas.orpo(c, r, 0.25)),
    ("simpo", {"beta": 2.0, "gamma": 0.5}, lambda c, r, *_: formulas.simpo(c, r, 2.0, 0.5)),
]


@pytest.mark.parametrize(("kind", "settings", "formula"), CASES)
def test_losses_and_gradients_are_the_papers(
    given: Given, kind: str, settings: dict[str, Any], formula: Callable[..., float]
) -> None:
    own = measured(kind, given, **settings)
    expected = formula(*arrays(given))
    assert own.sum.item() == pytest.approx(expected, rel=1e-9)
    assert own.count == len(LENGTHS)
    found = gradients(own.sum, given)
    step = 1e-6
    for answer, gradient in enumerate(found):
        for token in range(len(gradient)):
            moved = [[tokens.copy() for tokens in part] for part in arrays(given)]
            moved[answer % 2][answer // 2][token] += step
            numeric = (formula(*moved) - expected) / step
            assert float(gradient[token]) == pytest.approx(numeric, abs=2e-5), (answer, token)


@pytest.mark.parametrize(
    ("kind", "settings", "theirs"),
    [
        ("orpo", {"beta": 0.25}, {"beta": 0.25}),
        ("orpo", {}, {"beta": 0.1}),
        ("simpo", {"beta": 2.0, "gamma": 0.5}, {"beta": 2.0, "simpo_gamma": 0.5}),
        ("simpo", {"beta": 2.5, "gamma": 1.25}, {"beta": 2.5, "simpo_gamma": 1.25}),
    ],
)
def test_orpo_and_simpo_are_trls(
    kind: str, settings: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Loss and gradient by every logit, from TRL's whole loss of a batch of sequences."""
    generator = torch.Generator().manual_seed(11)
    longest, vocabulary = 5, 7
    chosen = torch.randint(vocabulary, (3, longest), generator=generator)
    rejected = [torch.randint(vocabulary, (n,), generator=generator) for n in (2, 5, 1)]
    logits = 3 * torch.randn(6, 1 + longest, vocabulary, generator=generator).double()
    logits.requires_grad_()
    said = logits.log_softmax(-1)
    answers = [answer for pair in zip(chosen, rejected, strict=True) for answer in pair]
    policy = [
        said[number // 2 + (3 if number % 2 else 0), : len(ids)].gather(1, ids[:, None])[:, 0]
        for number, ids in enumerate(answers)
    ]
    own = measured(kind, (policy, [tokens.detach() for tokens in policy]), **settings)
    mean, other = own.sum / own.count, trl_odds.loss(kind, logits, chosen, rejected, **theirs)
    assert mean.item() == pytest.approx(other.item(), abs=1e-6)
    (mine,) = torch.autograd.grad(mean, logits, retain_graph=True)
    torch.testing.assert_close(mine, *torch.autograd.grad(other, logits), rtol=0, atol=1e-6)
    assert float(mine.abs().max()) > 1e-2, "nothing would have been compared"


def test_rewards_are_what_the_policy_gained_on_its_reference(given: Given) -> None:
    policy, reference, metrics = *given, measured("dpo", given, beta=BETA).metrics
    gained = [BETA * (p.sum() - r.sum()).item() for p, r in zip(policy, reference, strict=True)]
    better, worse = gained[::2], gained[1::2]
    assert float(metrics["reward_chosen"]) == pytest.approx(sum(better))
    assert float(metrics["reward_rejected"]) == pytest.approx(sum(worse))
    assert float(metrics["margin"]) == pytest.approx(sum(better) - sum(worse))
    right = sum(b > w for b, w in zip(better, worse, strict=True))
    assert 0 < right < len(LENGTHS), "the pairs would not tell a turned sign"
    assert float(metrics["reward_accuracy"]) == right
    assert not any(value.requires_grad for value in metrics.values())


@pytest.mark.parametrize("settings", [{}, {"loss": "ipo"}, {"length_normalized": True}])
def test_at_the_start_nothing_is_preferred(given: Given, settings: dict[str, Any]) -> None:
    """A policy that is its reference costs ln 2 a pair, or (1/2β)² under IPO."""
    alike = (given[0], [tokens.detach() for tokens in given[0]])
    cost = (1 / (2 * BETA)) ** 2 if settings.get("loss") == "ipo" else np.log(2)
    loss = measured("dpo", alike, beta=BETA, **settings)
    assert loss.sum.item() == pytest.approx(len(LENGTHS) * cost)
    assert float(loss.metrics["reward_accuracy"]) == 0.0, "as likely as before is not preferred"


def test_an_answer_of_certainty_has_odds() -> None:
    certain = ([torch.zeros(2, dtype=torch.float64).requires_grad_()] * 2, [torch.zeros(2)] * 2)
    assert torch.isfinite(measured("orpo", certain).sum)


def test_what_an_objective_of_pairs_says_of_itself() -> None:
    for kind, reference in (("dpo", True), ("orpo", False), ("simpo", False)):
        objective = OBJECTIVES[kind]
        assert (objective.sequences, objective.reference) == (2, reference)
        assert objective.takes == {"comparison"}
        assert objective.unit == "nats per pair"
        assert objective.learning_rate.value == 0.025


def pairs_manifest(workshop: Workshop, more: str, changes: tuple[str, str] = ("", "")) -> str:
    """A manifest that learns from pairs, with more keys of `[objective]`."""
    path = Path(workshop.manifest(more=f'[objective]\nkind = "dpo"\n{more}\n'))
    text = path.read_text().replace("[data]\n", '[data]\nformat = "preference"\n')
    path.write_text(text.replace(*changes) if changes[0] else text)
    return str(path)


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        ('loss = "ipo"\nlabel_smoothing = 0.1', "objective.label_smoothing", "no label smoothing"),
        ('loss = "robust"', "objective.loss", "without `label_smoothing` is `sigmoid`"),
        ("gamma = 1.0", "objective.gamma", "objective `dpo` has no key `gamma`"),
        ("label_smoothing = 0.5", "objective.label_smoothing", "expected a number less than 0.5"),
        ('reference = "a@b@c"', "objective.reference", "is not a"),
        ("beta = 0.0", "objective.beta", "expected a number greater than 0"),
    ],
)
def test_settings_that_mean_nothing_are_faults(
    workshop: Workshop, more: str, key: str, said: str
) -> None:
    path = pairs_manifest(workshop, more)
    ((found, message),) = [(fault.key, fault.message) for fault in check_manifest(path)[1]]
    assert found == key
    assert said in message


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        (("[train]\n", "[train]\nobjective = 'dpo'\n"), "train.objective", "has a table"),
        (("[method]\n", "[method]\ndropout = 0.1\n"), "method.dropout", "by chance"),
        (
            ("[train]\n", '[start]\nfrom = "tiny@1"\n[train]\n'),
            "objective.reference",
            "continues `tiny@1`, which is not the base",
        ),
        (
            (
                "[serve]\n",
                "[[evaluate.gates]]\nmetric='exact_match'\nagainst='start'\n[serve]\n",
            ),
            "evaluate.gates[0].against",
            "continues no release",
        ),
        (("[train]\n", '[start]\nfrom = "Tiny"\n[train]\n'), "start.from", "not an adapter name"),
    ],
)
def test_combinations_that_would_be_refused_later_are_faults(
    workshop: Workshop, changes: tuple[str, str], key: str, said: str
) -> None:
    reference = 'reference = "base"' if "objective.reference" in key else ""
    path = pairs_manifest(workshop, reference, changes)
    faults = [(fault.key, fault.message) for fault in check_manifest(path)[1]]
    assert [found for found, _ in faults] == [key]
    assert said in faults[0][1]
