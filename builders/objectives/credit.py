"""Credit: what each token of a sampled answer is worth, where one reward is given for the whole.

Invariant: pure; one answer at a time, of its own tokens alone. Nothing comes after an answer's last
token, also where the answer was cut at its longest length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# So that advantages which hardly differ are not blown up (as TRL).
_LEAST = 1e-8


def token_rewards(reward: float, apart: torch.Tensor, beta: float) -> torch.Tensor:
    """[tokens] −β(log π − log π₀) of each token, and the answer's reward on its last.

    Ziegler et al. 2019, arXiv:1909.08593, eq. 2.

    Args:
        reward: of the whole answer.
        apart: [tokens] log π − log π₀ of what was sampled, in nats.
        beta: the divergence's weight.
    """
    found = -beta * apart
    found[-1] += reward
    return found


def advantages(
    rewards: torch.Tensor, expected: torch.Tensor, discount: float, trace: float
) -> torch.Tensor:
    """[tokens] Σ (γλ)ˡ δ of what follows, δ = r + γV' − V (Schulman et al. 2015, arXiv:1506.02438).

    Args:
        rewards: [tokens] of each token.
        expected: [tokens] V: the reward still to come, expected before each token.
        discount: γ.
        trace: λ; 0 looks one token ahead, 1 to the end.
    """
    import torch

    found: list[float] = []
    after, following = 0.0, 0.0
    for reward, own in zip(reversed(rewards.tolist()), reversed(expected.tolist()), strict=True):
        surprise = reward + discount * following - own
        after = surprise + discount * trace * after
        found.append(after)
        following = own
    return torch.tensor(found[::-1], dtype=rewards.dtype)


def whitened(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same with mean 0 and variance 1 over all of them; a single number stays as it is."""
    import torch

    together = torch.cat([*values])
    if len(together) < 2:
        return [*values]
    scale = (together.var() + _LEAST).rsqrt()
    return [(one - together.mean()) * scale for one in values]
