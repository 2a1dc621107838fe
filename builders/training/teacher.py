"""Teachers: what a policy's distribution over the vocabulary is drawn to.

A teacher is asked twice: once a step for its last hidden states before the tokens of every answer,
which are few numbers, and for a few places at a time for the logits that it makes of them.

Invariant: no gradient goes through a teacher, and asking one leaves the policy as it was, random
numbers included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.func import functional_call

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.objectives.batch import TokenSequence, padded
from adapterworks.builders.objectives.scoring import states
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.builders.training.projection import ChunkedProjection, projection_of
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.bases.quiet import quiet_libraries

_WEIGHTS = "adapter_model.safetensors"
_FEW = 12  # tokens that a model of its own is tried with


class Teacher(Protocol):
    """Who teaches."""

    def states(self, sequences: Sequence[TokenSequence]) -> list[torch.Tensor]:
        """[labels, width] of each, float32 on the CPU: its last hidden state before each labelled
        token."""

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[places, width] → [places, vocabulary]."""

    def stepped(self) -> None:
        """The policy has been updated."""


class SharedTeacher:
    """The policy's base without its adapter, or with another one in its place.

    Args:
        forward: runs the policy.
        reference: as `Forward.reference_policy` takes it.
        folder: the teacher's adapter, if it has one.
        micro: sequences that are asked together.

    Raises:
        Refused: one of the two changes what makes logits of states, and they share it.
    """

    def __init__(self, forward: Forward, reference: str, folder: Path | None, micro: int) -> None:
        self.forward, self.micro = forward, micro
        self.projection = projection_for(forward.projection)
        self.reference, self.folder = reference, folder
        if self.projection.trained or _adapts(self.projection, folder):
            raise Refused(
                "the output projection is adapted, by the policy or its teacher, and they share it",
                hint="leave it out of `method.target_modules`",
            )

    def states(self, sequences: Sequence[TokenSequence]) -> list[torch.Tensor]:
        forward = self.forward
        with forward.reference_policy(self.reference, self.folder):
            virtual = forward.virtual_tokens if forward.has_method else 0
            asked = (sequences, forward.pad, self.micro, virtual)
            return _asked(forward.bare, forward.model, self.projection, *asked)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.projection.logits(states)

    def stepped(self) -> None:
        """It stays as it is."""


class SeparateTeacher:
    """A model of its own.

    Args:
        checkpoint: its folder.
        adapter: put on it, if there is one.
        precision: of its weights, as a plan says it.
        dtype: the same.
        device: where it is.
        pad: the token id of padding.
        micro: sequences that are asked together.

    Raises:
        Refused: it cannot be asked for its states.
    """

    def __init__(
        self,
        checkpoint: Path,
        adapter: Path | None,
        precision: str,
        dtype: torch.dtype,
        device: torch.device,
        pad: int,
        micro: int,
    ) -> None:
        quiet_libraries()
        model: Any
        with torch.random.fork_rng():
            model = load_causal_lm(checkpoint, dtype=dtype)
            if adapter is not None:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, str(adapter))
        self.model: Any = model.requires_grad_(False).eval().to(device)
        prompts: Any = getattr(self.model, "active_peft_config", None)
        tuned = getattr(prompts, "peft_type", None) in ("PROMPT_TUNING", "P_TUNING")
        self.virtual, self.pad, self.micro = (
            int(prompts.num_virtual_tokens) if tuned else 0,
            pad,
            micro,
        )
        few = torch.arange(_FEW)
        self.projection = projection_for(
            projection_of(
                self.model,
                self.model,
                TokenSequence(few, few),
                precision=precision,
                virtual_tokens=self.virtual,
            )
        )

    def states(self, sequences: Sequence[TokenSequence]) -> list[torch.Tensor]:
        asked = (sequences, self.pad, self.micro, self.virtual)
        return _asked(self.model, self.model, self.projection, *asked)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.projection.logits(states)

    def stepped(self) -> None:
        """It stays as it is."""


class Average:
    """The policy's own weights, as an exponential moving average over the steps.

    Args:
        forward: runs the policy.
        rate: how far it goes towards the policy after a step; 1 is the policy as it is.
        micro: sequences that are asked together.
    """

    def __init__(self, forward: Forward, rate: float, micro: int) -> None:
        self.forward, self.rate, self.micro = forward, rate, micro
        self.projection = projection_for(forward.projection)
        self.weights = {} if rate == 1 else {n: p.detach().clone() for n, p in self._trained()}

    def states(self, sequences: Sequence[TokenSequence]) -> list[torch.Tensor]:
        forward = self.forward
        asked = (sequences, forward.pad, self.micro, forward.virtual_tokens)
        return _asked(forward.bare, self._run(), self.projection, *asked)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        own = self.weights if self.projection.trained and self.weights else None
        return self.projection.logits(states, own)

    def stepped(self) -> None:
        with torch.no_grad():
            for name, parameter in self._trained() if self.weights else ():
                self.weights[name].lerp_(parameter, self.rate)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps of it."""
        return {name: one.cpu() for name, one in self.weights.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave."""
        assert tensors.keys() == self.weights.keys(), "a checkpoint of another method or shape"
        for name, tensor in tensors.items():
            self.weights[name].copy_(tensor)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.forward.bare.named_parameters() if p.requires_grad]

    def _run(self) -> Callable[..., Any]:
        """The model with the average in place of its weights, which stay as they are."""
        if not self.weights:
            return self.forward.model

        def run(**inputs: Any) -> Any:
            return functional_call(self.forward.model, self.weights, (), inputs)

        return run


def _asked(
    model: nn.Module,
    run: Callable[..., Any],
    projection: ChunkedProjection,
    sequences: Sequence[TokenSequence],
    pad: int,
    micro: int,
    virtual: int,
) -> list[torch.Tensor]:
    """The states of all sequences, without dropout; the model's mode is as it was."""
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    found: list[torch.Tensor] = []
    layout = partial(padded, pad=pad)
    with torch.no_grad():
        for some in chunks([*range(len(sequences))], micro):
            chosen = [sequences[index] for index in some]
            bare = [TokenSequence(one.input_ids, one.labels) for one in chosen]
            together = states(run, layout(bare).to(device), projection, virtual)
            sizes = [int((one.labels[1:] != IGNORED).sum()) for one in chosen]
            found += [part.float().cpu() for part in together.split(sizes)]
    for module, was in modes.items():
        module.training = was
    return found


def projection_for(found: Any) -> ChunkedProjection:
    """The output projection, of a model that can be asked for it.

    Raises:
        Refused: it cannot.
    """
    if not isinstance(found, ChunkedProjection):
        raise Refused(
            "this base computes its logits by something else than its output projection, so there "
            "are no hidden states to compare two models by",
            hint="use another base",
        )
    return found


def _adapts(projection: ChunkedProjection, folder: Path | None) -> bool:
    """Whether an adapter changes the projection."""
    if folder is None:
        return False
    from safetensors import safe_open

    with safe_open(folder / _WEIGHTS, framework="pt") as file:
        return any(f".{projection.name}." in key for key in file.keys())  # noqa: SIM118
