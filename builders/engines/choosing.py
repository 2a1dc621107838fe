"""Choosing the next token, one row at a time: greedy or drawn, with its log-probability.

Invariant: what is drawn for a row depends on its prompt, the seed and the number of the sample, not
on the batch it is in: each row draws from a generator of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.engines.engine import Ids, Sampling
from adapterworks.manifests.digests import hash64

if TYPE_CHECKING:
    import torch


class Choosing:
    """A logits processor that notes what is chosen, and draws if answers are to be drawn.

    Greedy, it changes nothing: the likeliest token is taken as it was without it. Otherwise it
    leaves only the token that it drew.

    Args:
        sampling: its `seeds`, where there are any, are one a row.
        rows: (prompt, number of the sample) of each row of the batch.
    """

    def __init__(self, sampling: Sampling, rows: Sequence[tuple[Ids, int]]) -> None:
        self._sampling = sampling
        self._noted: list[torch.Tensor] = []
        seeds = sampling.seeds or (sampling.seed,) * len(rows)
        self._generators = (
            []
            if sampling.greedy
            else [_generator(seed, *row) for seed, row in zip(seeds, rows, strict=False)]
        )

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores [rows, vocabulary] of the next token, as the model's `generate` takes them."""
        import torch

        chosen = scores.argmax(dim=-1) if self._sampling.greedy else self._draw(scores)
        at = chosen[:, None]
        total = torch.logsumexp(scores.float(), dim=-1)
        self._noted.append(scores.float().gather(1, at)[:, 0] - total)
        if self._sampling.greedy:
            return scores
        return torch.full_like(scores, float("-inf")).scatter_(1, at, 0.0)

    def of(self, rows: Sequence[int]) -> Choosing:
        """The same for some of the rows: they draw on from where they are; nothing is noted yet."""
        other = Choosing(self._sampling, ())
        other._generators = [self._generators[row] for row in rows] if self._generators else []
        return other

    def logprobs(self) -> list[list[float]]:
        """Row by row, the log-probability of each token that was chosen; padding included."""
        import torch

        if not self._noted:
            return []
        values: list[list[float]] = torch.stack(self._noted, dim=1).double().cpu().tolist()
        return values

    def _draw(self, scores: torch.Tensor) -> torch.Tensor:
        import torch

        tempered = scores.float() / self._sampling.temperature
        shares = torch.softmax(tempered, dim=-1)
        if self._sampling.top_p < 1.0:
            shares = nucleus(shares, self._sampling.top_p)
        shares = shares.cpu()  # the generators are the CPU's: the same draws on every device
        drawn = [
            torch.multinomial(row, 1, generator=generator)
            for row, generator in zip(shares, self._generators, strict=True)
        ]
        return torch.cat(drawn).to(scores.device)


def nucleus(shares: torch.Tensor, top_p: float) -> torch.Tensor:
    """The shares [rows, vocabulary] of the likeliest tokens that together reach `top_p`, else 0.

    A token stays while those likelier than it are below `top_p` (Holtzman et al. 2020, eq. 2), so
    that at least one does. The rest are not made to sum to 1.
    """
    ordered, order = shares.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= top_p, 0.0)
    return kept.new_zeros(kept.shape).scatter_(1, order, kept)


def _generator(seed: int, prompt: Ids, sample: int) -> torch.Generator:
    import torch

    number = hash64(f"{seed}:{sample}:{','.join(map(str, prompt))}")
    return torch.Generator().manual_seed(number >> 1)
