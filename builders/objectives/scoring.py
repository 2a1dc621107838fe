"""The one place that runs a model for an objective: a micro batch → its scores.

Invariant: logits are computed only where a label is: the output projection over a large vocabulary
is a fifth of a small model's work, and most positions of a prompt have no label. Where a model's
projection can be asked for some positions after the others (`Projection`), the logits of a whole
micro batch are never there together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.builders.objectives.batch import CONTRAST, TEACHER, Batch
from adapterworks.builders.objectives.scores import Scores

if TYPE_CHECKING:
    import torch

_OTHER = "reference"
# Numbers that logits may have together: 64 and 256 MiB in float32. A matrix product gains nothing
# by more of them (docs/log/training.md).
_TOGETHER = {"cpu": 1 << 24, "cuda": 1 << 26}
LEAST_TOGETHER = 64


def logits_together(vocabulary: int, device: str) -> int:
    """Positions whose logits are computed together, on a device `cpu` or `cuda`."""
    return max(LEAST_TOGETHER, _TOGETHER.get(device, _TOGETHER["cuda"]) // vocabulary)


# Of the logits [n, vocabulary] of some supervised tokens and which ones they are: columns [n].
Read = Callable[["torch.Tensor", slice], tuple["torch.Tensor", ...]]
# What reward is still to come, of the hidden states before tokens: [tokens, width] → [tokens].
Critic = Callable[["torch.Tensor"], "torch.Tensor"]


@dataclass
class Projected:
    """What went into a model's output projection, and what came of it.

    Attributes:
        hidden: [tokens, width], before each supervised token; set while the model runs.
        columns: what `Read` gave of all of them, where the model's logits are not there together;
            else None, and the model has given their logits as [1, tokens, vocabulary].
    """

    hidden: torch.Tensor | None = None
    columns: tuple[torch.Tensor, ...] | None = None


@dataclass(frozen=True, slots=True)
class TeacherLoss:
    """What each token's distribution over the vocabulary is compared with.

    Attributes:
        teacher: [tokens, width of its states] → [tokens, its vocabulary] logits, without gradient.
        measure: logits of both → [tokens] nats.
    """

    teacher: Callable[[torch.Tensor], torch.Tensor]
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Projection(Protocol):
    """A model's output projection, which it leaves to this one for a while."""

    def only(self, kept: torch.Tensor, read: Read) -> AbstractContextManager[Projected]:
        """While the model runs: project these positions and no others.

        Args:
            kept: [rows, columns] boolean, of the columns whose logits the model is asked for.
            read: what is wanted of their logits.
        """

    def states(self, kept: torch.Tensor) -> AbstractContextManager[Projected]:
        """While the model runs: project nothing, and keep what would be projected here.

        Args:
            kept: as of `only`.
        """

    def logits(
        self, states: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """[tokens, width] → [tokens, vocabulary], behind whatever `states` kept before.

        Args:
            weights: parameters by name that stand in the model's own ones' place.
        """


def score(
    model: Callable[..., Any],
    batch: Batch,
    virtual_tokens: int = 0,
    *,
    uniform: bool = False,
    critic: Critic | None = None,
    projection: Projection | None = None,
    beside: TeacherLoss | None = None,
) -> Scores:
    """The scores of a micro batch, differentiable.

    Args:
        model: base or PEFT model, or what is called like one.
        batch: on the model's device.
        virtual_tokens: embeddings the model puts in front of the sequence (prompt tuning), else 0.
        uniform: give the mean of all words' log-probabilities, too.
        critic: give what it expects before each supervised token, too; needs `projection`.
        projection: of this model; without it the model computes logits by itself.
        beside: give how far the distribution is from the teacher's, too, where the batch has the
            teacher's states.
    """
    inputs, columns, chosen = _asked(batch)
    kept = chosen != IGNORED
    found = {name: column[:, 1:][:, columns][kept] for name, column in batch.columns.items()}
    others = found[CONTRAST].long() if CONTRAST in found else None
    taught = found.pop(TEACHER, None)
    compared = None if beside is None or taught is None else partial(_apart, beside, taught)
    read = partial(_read, chosen[kept], others, uniform, compared)
    whole = nullcontext(Projected()) if projection is None else projection.only(kept, read)
    with whole as projected:
        logits = model(**inputs, logits_to_keep=columns + virtual_tokens).logits
    given = projected.columns
    if given is None:
        given = read(logits[kept] if projection is None else logits[0], slice(None))
    logprobs, *more = given
    if others is not None:
        found[CONTRAST] = more.pop(0)
    average = more.pop(0) if uniform else None
    expected = None
    if critic is not None:
        assert projected.hidden is not None, "a critic reads what is projected"
        expected = critic(projected.hidden)
    return Scores(
        logprobs,
        batch.owners[:, 1:][:, columns][kept],
        batch.sequences,
        found,
        batch.values,
        average,
        expected=expected,
        apart=None if compared is None else more.pop(0),
    )


def states(
    model: Callable[..., Any], batch: Batch, projection: Projection, virtual_tokens: int = 0
) -> torch.Tensor:
    """[tokens, width]: the model's last hidden state before each supervised token; no logits."""
    inputs, columns, chosen = _asked(batch)
    with projection.states(chosen != IGNORED) as projected:
        model(**inputs, logits_to_keep=columns + virtual_tokens)
    assert projected.hidden is not None
    return projected.hidden


def _asked(batch: Batch) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """What a model is given of a batch, the columns that labels are predicted by, and these."""
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero().squeeze(-1)
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.attention_mask is not None:
        inputs["attention_mask"] = batch.attention_mask
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
    return inputs, columns, targets[:, columns]


def _apart(
    beside: TeacherLoss, taught: torch.Tensor, logits: torch.Tensor, at: slice
) -> torch.Tensor:
    """How far some supervised tokens' distributions are from the teacher's."""
    import torch

    with torch.no_grad():
        others = beside.teacher(taught[at]).float()
    return beside.measure(logits, others)


def _read(
    targets: torch.Tensor,
    others: torch.Tensor | None,
    uniform: bool,
    compared: Callable[[torch.Tensor, slice], torch.Tensor] | None,
    logits: torch.Tensor,
    at: slice,
) -> tuple[torch.Tensor, ...]:
    """Log-probabilities of some supervised tokens, in float32: of their labels, of what those are
    weighed against, the mean over all words; and how far they are from a teacher's."""
    from torch.nn import functional

    logits = logits.float()
    columns = [-functional.cross_entropy(logits, targets[at], reduction="none")]
    if others is not None:
        columns.append(-functional.cross_entropy(logits, others[at], reduction="none"))
    if uniform:
        columns.append(functional.log_softmax(logits, dim=-1).mean(dim=-1))
    if compared is not None:
        columns.append(compared(logits, at))
    return tuple(columns)


def score_behind_shared(
    model: Any,
    batch: Batch,
    *,
    uniform: bool = False,
    critic: Critic | None = None,
    projection: Projection | None = None,
    beside: TeacherLoss | None = None,
) -> Scores:
    """The scores of a batch that was laid out behind what its sequences share.

    A soft prompt is the first thing that sequences share: its keys and values are there once, too.
    """
    behind = model
    if has_soft_prompt(model):
        # Before the rows: of prompt tuning it is a pass of the base by itself.
        behind = partial(_behind_prompt, model, prompt_cache(model, 1))
    asked: dict[str, Any] = {"uniform": uniform, "critic": critic, "beside": beside}
    return score(behind, batch, projection=projection, **asked)


def _behind_prompt(
    model: Any,
    prompt: tuple[Any, int],
    attention_mask: torch.Tensor,
    position_ids: torch.Tensor,
    **inputs: Any,
) -> Any:
    """The base behind a soft prompt's cache; PEFT's own forward takes masks of two dimensions."""
    import torch

    cache, virtual = prompt
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
    modes = {module: module.training for module in model.modules()}
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
        for module, was in modes.items():  # PEFT leaves a model that it loads to be asked
            module.training = was


def without_method(model: Any) -> AbstractContextManager[Any]:
    """The model as its base is: without the adapter.

    A model that is trained whole is its base as long as nothing has been learnt: it has to be asked
    before the first step.
    """
    disable = getattr(model, "disable_adapter", None)
    return nullcontext() if disable is None else disable()
