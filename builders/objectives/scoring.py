"""The one place that runs a model for an objective: a micro batch → its scores.

Invariant: logits are computed only where a label is: the output projection over a large vocabulary
is a fifth of a small model's work, and most positions of a prompt have no label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.builders.objectives.batch import CONTRAST, Batch
from adapterworks.builders.objectives.scores import Scores

if TYPE_CHECKING:
    import torch

_OTHER = "reference"


class Critic(Protocol):
    """Reads what reward is still to come from the hidden states before tokens."""

    def reading(self) -> AbstractContextManager[list[torch.Tensor]]:
        """While the model runs: [rows, columns, width], what its logits are made of."""

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """[tokens, width] → [tokens]."""


def score(
    model: Callable[..., Any],
    batch: Batch,
    virtual_tokens: int = 0,
    *,
    uniform: bool = False,
    critic: Critic | None = None,
) -> Scores:
    """The scores of a micro batch, differentiable.

    Args:
        model: base or PEFT model, or what is called like one.
        batch: on the model's device.
        virtual_tokens: embeddings the model puts in front of the sequence (prompt tuning), else 0.
        uniform: give the mean of all words' log-probabilities, too.
        critic: give what it expects before each supervised token, too.
    """
    from torch import nn

    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero().squeeze(-1)
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.attention_mask is not None:
        inputs["attention_mask"] = batch.attention_mask
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
    hidden: list[torch.Tensor] = []
    with nullcontext(hidden) if critic is None else critic.reading() as hidden:
        logits = model(**inputs, logits_to_keep=columns + virtual_tokens).logits
    chosen = targets[:, columns]
    kept = chosen != IGNORED
    losses = nn.functional.cross_entropy(logits[kept].float(), chosen[kept], reduction="none")
    found = {name: column[:, 1:][:, columns][kept] for name, column in batch.columns.items()}
    if CONTRAST in found:
        others = found[CONTRAST].long()
        found[CONTRAST] = -nn.functional.cross_entropy(
            logits[kept].float(), others, reduction="none"
        )
    return Scores(
        -losses,
        batch.owners[:, 1:][:, columns][kept],
        batch.sequences,
        found,
        batch.values,
        nn.functional.log_softmax(logits[kept].float(), dim=-1).mean(dim=-1) if uniform else None,
        expected=None if critic is None else critic(hidden[0][kept]),
    )


def score_behind_shared(
    model: Any, batch: Batch, *, uniform: bool = False, critic: Critic | None = None
) -> Scores:
    """The scores of a batch that was laid out behind what its sequences share.

    A soft prompt is the first thing that sequences share: its keys and values are there once, too.
    """
    behind = partial(_behind_prompt, model) if has_soft_prompt(model) else model
    return score(behind, batch, uniform=uniform, critic=critic)


def _behind_prompt(
    model: Any, attention_mask: torch.Tensor, position_ids: torch.Tensor, **inputs: Any
) -> Any:
    """The base behind a soft prompt's cache; PEFT's own forward takes masks of two dimensions."""
    import torch

    cache, virtual = prompt_cache(model, 1)
    everywhere = attention_mask.new_ones(1, 1, attention_mask.shape[2], virtual)
    return model.get_base_model()(
        attention_mask=torch.cat((everywhere, attention_mask), dim=-1),
        position_ids=position_ids + virtual,
        past_key_values=cache,
        **inputs,
    )


@contextmanager
def with_adapter(model: Any, folder: Path) -> Iterator[None]:
    """The model with another adapter in place of its own, which is read from its files.

    It is told by its own configuration, scale and targets included, so that nothing of the model's
    own adapter decides what it is. The model is afterwards as it was, random numbers included.
    """
    import torch

    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    own = model.active_adapter
    with torch.random.fork_rng():
        model.load_adapter(str(folder), adapter_name=_OTHER, is_trainable=False)
    try:
        model.set_adapter(_OTHER)
        yield
    finally:
        model.set_adapter(own)
        model.delete_adapter(_OTHER)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)


def without_method(model: Any) -> AbstractContextManager[Any]:
    """The model as its base is: without the adapter.

    A model that is trained whole is its base as long as nothing has been learnt: it has to be asked
    before the first step.
    """
    disable = getattr(model, "disable_adapter", None)
    return nullcontext() if disable is None else disable()
