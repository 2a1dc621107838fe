"""A batch's answers by Hugging Face's `generate`: rows that have ended are let go as it goes on.

A batch ends with its longest answer, and a row that ended before is computed until then, token for
token. So it is decoded in stretches: when half of its rows have ended, the others go on alone, on
their part of the cache.

Invariant: what is chosen for a row is what `generate` would choose for it in one stretch; its
prompt, its positions and its keys and values are the same, and so is its generator where tokens are
drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapterworks.builders.engines.choosing import Choosing
from adapterworks.builders.engines.engine import Completion, Ids, Sampling
from adapterworks.builders.generation.grouped_query_attention import grouped_query_attention
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Fewer rows are not divided: they take hardly less time than these.
_WORTH_DIVIDING = 4


def answers(
    model: PreTrainedModel,
    rows: Sequence[tuple[Ids, int]],
    sampling: Sampling,
    *,
    divide: bool = True,
) -> list[Completion]:
    """One batch's answers, in its order.

    Args:
        rows: prompts, with the number of the sample that is drawn from each.
        divide: whether rows that have ended are let go.
    """
    import torch
    from transformers import GenerationConfig

    from adapterworks.builders.generation.kv_cache import holds_rows, preallocated_cache

    pad = sampling.stop[0] if sampling.stop else 0
    ids, mask = _padded([prompt for prompt, _ in rows], pad)
    choosing = Choosing(sampling, rows)
    device, cached = model.device, dict[str, Any]()
    asked: Any = model
    if has_soft_prompt(model):
        cached["past_key_values"], virtual = prompt_cache(model, len(rows))
        mask = torch.cat((torch.ones((len(rows), virtual), dtype=mask.dtype), mask), dim=1)
        asked = asked.get_base_model()
        divide = False
    elif holds_rows(model):
        cached["past_key_values"] = preallocated_cache(model)
    else:
        divide = False
    ids, mask = ids.to(device), mask.to(device)
    chosen: list[list[int]] = [[] for _ in rows]
    logprobs: list[list[float]] = [[] for _ in rows]
    live, left = list(range(len(rows))), sampling.max_tokens
    while live and left > 0:
        ending = divide and sampling.stop and len(live) >= _WORTH_DIVIDING
        with grouped_query_attention():
            output = asked.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=left,
                    eos_token_id=list(sampling.stop) or None,
                    pad_token_id=pad,
                    return_dict_in_generate=True,
                ),
                logits_processor=[choosing],
                stopping_criteria=[_HalfHasEnded(sampling.stop, device)] if ending else [],
                **cached,
            )
        made = output.sequences[:, ids.shape[1] :]
        for row, tokens, values in zip(live, made.tolist(), choosing.logprobs(), strict=True):
            chosen[row] += tokens
            logprobs[row] += values
        left -= made.shape[1]
        if not ending:
            break
        going = [line for line, row in enumerate(live) if not _ended(chosen[row], sampling.stop)]
        if not going:
            break
        chooser = torch.tensor(going, device=device)
        cached["past_key_values"] = output.past_key_values
        cached["past_key_values"].batch_select_indices(chooser)
        ids = output.sequences[chooser]
        mask = torch.cat((mask, torch.ones_like(made)), dim=1)[chooser]
        choosing = choosing.of(going)
        live = [live[line] for line in going]
    return [
        _completion(tokens, values, sampling.stop)
        for tokens, values in zip(chosen, logprobs, strict=True)
    ]


class _HalfHasEnded:
    """A stopping criterion: all rows stop when half of them have ended."""

    def __init__(self, stop: Sequence[int], device: Any) -> None:
        import torch

        self._stop = torch.tensor(stop, device=device)
        self._ended: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """[rows]: whether to stop."""
        import torch

        ended = torch.isin(input_ids[:, -1], self._stop)
        self._ended = ended if self._ended is None else self._ended | ended
        return torch.full_like(ended, bool(2 * self._ended.sum() >= len(ended)))


def _padded(prompts: Sequence[Ids], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [rows, width], padded on the left: answers follow directly."""
    import torch

    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt)
        mask[line, width - len(prompt) :] = 1
    return ids, mask


def _ended(chosen: Sequence[int], stop: Sequence[int]) -> bool:
    return any(token in stop for token in chosen)


def _completion(
    chosen: Sequence[int], logprobs: Sequence[float], stop: Sequence[int]
) -> Completion:
    """What was chosen up to the first id that ends an answer; what follows it is padding."""
    end = next((at + 1 for at, token in enumerate(chosen) if token in stop), None)
    return Completion(
        tuple(chosen[:end]), tuple(logprobs[:end]), "length" if end is None else "stop"
    )
