"""Losses as the papers write them, in NumPy and float64, one example at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def sft(logprobs: list[Values], weights: list[Values]) -> tuple[float, float]:
    """Σ −w·log p and Σ w, over all tokens of all rows."""
    total = sum(float((-w * p).sum()) for p, w in zip(logprobs, weights, strict=True))
    return total, sum(float(w.sum()) for w in weights)


def dpo(
    chosen: list[Values],
    rejected: list[Values],
    reference_chosen: list[Values],
    reference_rejected: list[Values],
    beta: float,
) -> float:
    """Σ −log σ(β(log π(y₁)/π₀(y₁) − log π(y₂)/π₀(y₂))), Rafailov et al. 2023, eq. 7."""
    total = 0.0
    for c, r, rc, rr in zip(chosen, rejected, reference_chosen, reference_rejected, strict=True):
        margin = beta * ((c.sum() - rc.sum()) - (r.sum() - rr.sum()))
        total += float(np.log1p(np.exp(-margin)))
    return total


def _margins(
    chosen: list[Values],
    rejected: list[Values],
    reference_chosen: list[Values],
    reference_rejected: list[Values],
    *,
    mean: bool = False,
) -> list[float]:
    """log π/π₀ of the chosen less that of the rejected answer: of sums, or of means over tokens."""
    margins = []
    for c, r, rc, rr in zip(chosen, rejected, reference_chosen, reference_rejected, strict=True):
        by = (len(c), len(r)) if mean else (1, 1)
        margins.append((c.sum() - rc.sum()) / by[0] - (r.sum() - rr.sum()) / by[1])
    return margins


def _log_sigmoid(x: float) -> float:
    return float(-np.log1p(np.exp(-x)))


def conservative_dpo(*given: list[Values] | float) -> float:
    """Σ −(1 − ε)·log σ(βm) − ε·log σ(−βm), Mitchell 2023 ("A note on DPO with noisy preferences"),
    eq. 3; the last two arguments are β and ε."""
    *answers, beta, wrong = given
    return sum(
        -(1 - wrong) * _log_sigmoid(beta * m) - wrong * _log_sigmoid(-beta * m)  # type: ignore[operator]
        for m in _margins(*answers)  # type: ignore[arg-type]
    )


def robust_dpo(*given: list[Values] | float) -> float:
    """Σ (−(1 − ε)·log σ(βm) + ε·log σ(−βm)) / (1 − 2ε), Chowdhury et al. 2024, eq. 8."""
    *answers, beta, wrong = given
    total = sum(
        -(1 - wrong) * _log_sigmoid(beta * m) + wrong * _log_sigmoid(-beta * m)  # type: ignore[operator]
        for m in _margins(*answers)  # type: ignore[arg-type]
    )
    return float(total / (1 - 2 * wrong))  # type: ignore[operator]


def ipo(*given: list[Values] | float) -> float:
    """Σ (m − 1/2β)², m of means over tokens, Azar et al. 2023, eq. 17."""
    *answers, beta = given
    return float(sum((m - 0.5 / beta) ** 2 for m in _margins(*answers, mean=True)))  # type: ignore[arg-type, operator]


def hinge(*given: list[Values] | float) -> float:
    """Σ max(0, 1 − βm), Zhao et al. 2023 (SLiC-HF)."""
    *answers, beta = given
    return float(sum(max(0.0, 1 - beta * m) for m in _margins(*answers)))  # type: ignore[arg-type, operator]


def mean_nats(answers: list[Values]) -> float:
    """Σ over answers of the mean −log p of their tokens."""
    return float(sum(-tokens.mean() for tokens in answers))


def orpo(chosen: list[Values], rejected: list[Values], weight: float) -> float:
    """Σ −log p̄(y₁) − λ·log σ(log odds(y₁)/odds(y₂)), odds of p̄ = exp(mean log p), Hong et al.
    2024, eq. 6 and 7."""
    total = 0.0
    for c, r in zip(chosen, rejected, strict=True):
        one, other = np.exp(c.mean()), np.exp(r.mean())
        odds = np.log(one / (1 - one)) - np.log(other / (1 - other))
        total += -float(c.mean()) - weight * _log_sigmoid(float(odds))
    return total


def simpo(chosen: list[Values], rejected: list[Values], beta: float, gamma: float) -> float:
    """Σ −log σ(β(mean log p(y₁) − mean log p(y₂)) − γ), Meng et al. 2024, eq. 6."""
    pairs = zip(chosen, rejected, strict=True)
    return sum(-_log_sigmoid(beta * float(c.mean() - r.mean()) - gamma) for c, r in pairs)


def clipped_policy_gradient(
    policy: list[Values],
    old: list[Values],
    reference: list[Values],
    advantages: tuple[float, ...],
    kind: str,
    *,
    beta: float,
    low: float,
    high: float,
    most: int,
) -> tuple[float, float]:
    """Sum and count of −min(ρA, clip(ρ)A) + β(e^(r−p) − (r − p) − 1), token by token. Ratios: of a
    token (GRPO, DAPO, Dr. GRPO), of the answer's mean (GSPO, eq. 7), of its sum (RLOO)."""
    total = count = 0.0
    for p, o, r, a in zip(policy, old, reference, advantages, strict=True):
        kl = beta * (np.exp(r - p) - (r - p) - 1)
        if kind == "rloo":
            ratio = np.exp((p - o).sum())
            total += -min(ratio * a, np.clip(ratio, 1 - low, 1 + high) * a) + float(kl.sum())
            count += 1
            continue
        ratios = np.exp(p - o) if kind != "gspo" else np.full(len(p), np.exp((p - o).mean()))
        held = np.clip(ratios, 1 - low, 1 + high)
        losses = -np.minimum(ratios * a, held * a) + kl
        total += float(losses.mean() if kind in ("grpo", "gspo") else losses.sum())
        count += {"dapo": len(p), "dr_grpo": most}.get(kind, 1)
    return total, count


def generalized_jsd(student: Values, teacher: Values, beta: float) -> float:
    """β·KL(teacher‖M) + (1 − β)·KL(student‖M), M = β·teacher + (1 − β)·student, of shares of words;
    Agarwal et al. 2023, eq. 1. At 0 and 1 what it tends to, over β(1 − β): §2 there."""

    def kl(one: Values, other: Values) -> float:
        return sum(float(p * np.log(p / q)) for p, q in zip(one, other, strict=True))

    if beta == 0:
        return kl(teacher, student)
    if beta == 1:
        return kl(student, teacher)
    mixture = beta * teacher + (1 - beta) * student
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)


def divergence_in_rewards(reward: float, policy: Values, reference: Values, beta: float) -> Values:
    """r_t = −β(log π − log π₀), + the answer's reward at its end: Ziegler et al. 2019, eq. 2."""
    ends = np.zeros(len(policy))
    ends[-1] = reward
    return ends - beta * (policy - reference)


def generalized_advantages(
    rewards: Values, expected: Values, discount: float, trace: float
) -> Values:
    """A_t = Σ_l (γλ)^l δ_{t+l}, δ_t = r_t + γV_{t+1} − V_t, V = 0 behind the end: Schulman et al.
    2015, eq. 16, term by term."""
    following = np.append(expected[1:], 0.0)
    surprises = rewards + discount * following - expected
    return np.array(
        [
            sum((discount * trace) ** ahead * s for ahead, s in enumerate(surprises[place:]))
            for place in range(len(rewards))
        ]
    )


def whitened(values: list[Values]) -> list[Values]:
    """(x − mean) / √(variance + 1e-8), variance with n − 1, over all answers of a step."""
    together = np.concatenate(values)
    spread = np.sqrt(together.var(ddof=1) + 1e-8)
    return [(one - together.mean()) / spread for one in values]


def ppo(
    policy: list[Values],
    old: list[Values],
    advantages: list[Values],
    expected: list[Values],
    before: list[Values],
    returns: list[Values],
    *,
    epsilon: float,
    epsilon_value: float,
    weight: float,
) -> tuple[float, float]:
    """Sum and count, over tokens, of −min(ρA, clip(ρ)A) + c·½max((V − R)², (V' + clip(V − V') −
    R)²): Schulman et al. 2017, eq. 7 and 9; the value's clip as in OpenAI's baselines."""
    total = count = 0.0
    for p, o, a, v, b, r in zip(policy, old, advantages, expected, before, returns, strict=True):
        for token in range(len(p)):
            ratio = np.exp(p[token] - o[token])
            held = min(max(ratio, 1 - epsilon), 1 + epsilon)
            total -= min(ratio * a[token], held * a[token])
            moved = min(max(v[token] - b[token], -epsilon_value), epsilon_value)
            apart = max((v[token] - r[token]) ** 2, (b[token] + moved - r[token]) ** 2)
            total += weight * 0.5 * apart
            count += 1
    return float(total), count
