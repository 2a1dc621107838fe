"""A model's output projection over a few positions at a time: logits of a whole micro batch, which
are most of a small model's memory (512 tokens × 8 × a vocabulary of 49,152: 0.8 GB, three times),
are never there together.

What stands between the projection and the logits (a soft cap, a scale) is the model's own: it is
run once more for each part, from its last hidden states on. So nothing here knows an architecture,
and whether a model can be asked in this way is tried before the first step (`projection_of`).

Where nothing of the projection is trained, a part's gradient is taken at once: a token's
log-probability depends on its own hidden state alone, so that what comes back later is multiplied
by it, and nothing is computed twice (as in Liger, Hsu et al. 2024, arXiv:2410.10989, for any loss).
Where it is trained, or gradients are scaled for fp16, each part is computed anew in the backward
pass (Chen et al. 2016, arXiv:1604.06174), as TRL does.

Invariant: columns and gradients are those of the model's own logits up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from adapterworks.builders.objectives.batch import TokenSequence, padded
from adapterworks.builders.objectives.scoring import Projected, Read, logits_together, score
from adapterworks.builders.training.shared_prefix import undisturbed

# How far a token's log-probability may be from the model's own, by precision, over 1 + its size.
_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-2, "fp16": 1e-2}
_TRIED = 12  # tokens
_Columns = tuple[torch.Tensor, ...]


class ChunkedProjection:
    """See above; a `Projection`.

    Args:
        model: what the method made of the base, not wrapped for several processes.
        most: positions whose logits are computed together; None for all of them.

    Raises:
        ValueError: it has no output projection.
    """

    def __init__(self, model: Any, most: int | None) -> None:
        whole = model.get_base_model() if hasattr(model, "get_base_model") else model
        output = whole.get_output_embeddings()
        if output is None:
            raise ValueError("this model has no output projection")
        self.most = most
        self._model, self._output = whole, output
        decoder, chosen = getattr(whole, whole.base_model_prefix, None), whole.get_decoder()
        self._decoders = {one for one in (decoder, chosen) if one is not None and one is not whole}
        inner = {parameter for one in self._decoders for parameter in one.parameters()}
        outer = [parameter for parameter in whole.parameters() if parameter not in inner]
        self._trained = any(p.requires_grad for p in (*outer, *output.parameters()))
        self._in_tail = False
        self._end: _Tail | None = None

    @property
    def trained(self) -> bool:
        """Whether something of what makes logits of states is trained."""
        return self._trained

    @property
    def name(self) -> str:
        """The last part of the output projection's name."""
        named = self._model.named_modules()
        return next(name for name, one in named if one is self._output).rpartition(".")[2]

    @contextmanager
    def states(self, kept: torch.Tensor) -> Iterator[Projected]:
        """As `Projection.states`."""
        found = Projected()
        ran: list[tuple[nn.Module, Any]] = []

        def projected(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            if found.hidden is not None or given[0].shape[:2] != kept.shape:
                raise ValueError("the output projection is not asked once for what is kept")
            found.hidden = given[0][kept]
            return (found.hidden[None, :0],)

        with self._hooked(projected, ran):
            yield found
        self._end = _Tail(self._model, *ran[-1])

    def logits(
        self, states: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """As `Projection.logits`."""
        assert self._end is not None, "nothing was kept to be projected"
        given = states.to(self._end.dtype)
        return self._logits(given, self._end, weights)

    @contextmanager
    def only(self, kept: torch.Tensor, read: Read) -> Iterator[Projected]:
        """As `Projection.only`."""
        found = Projected()
        ran: list[tuple[nn.Module, Any]] = []

        def projected(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            if self._in_tail:
                return given
            if found.hidden is not None or given[0].shape[:2] != kept.shape:
                raise ValueError("the output projection is not asked once for what is kept")
            hidden = found.hidden = given[0][kept]
            if self.most is None or len(hidden) <= self.most:
                return (hidden[None],)
            found.columns = self._columns(hidden, read, _Tail(self._model, *ran[-1]))
            return (hidden[None, :0],)

        with self._hooked(projected, ran):
            yield found

    @contextmanager
    def _hooked(
        self,
        projected: Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor]],
        ran: list[tuple[nn.Module, Any]],
    ) -> Iterator[None]:
        """While the model runs: what its projection is given, and which decoder gave what."""

        def noted(decoder: nn.Module, _: Any, output: Any) -> None:
            ran.append((decoder, output))

        hooks = [self._output.register_forward_pre_hook(projected)]
        hooks += [decoder.register_forward_hook(noted) for decoder in self._decoders]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _columns(self, hidden: torch.Tensor, read: Read, tail: _Tail) -> _Columns:
        assert self.most is not None
        parts = []
        for start in range(0, len(hidden), self.most):
            at = slice(start, start + self.most)

            def run(part: torch.Tensor, at: slice = at) -> _Columns:
                return read(self._logits(part, tail), at)

            parts.append(self._differentiable(hidden[at], run))
        return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))

    def _differentiable(
        self, hidden: torch.Tensor, run: Callable[[torch.Tensor], _Columns]
    ) -> _Columns:
        if not torch.is_grad_enabled():
            return run(hidden)
        if self._trained or hidden.dtype == torch.float16:
            columns: _Columns = checkpoint(run, hidden, use_reentrant=False)
            return columns
        columns = _WithGradient.apply(hidden, run)
        return columns

    def _logits(
        self, part: torch.Tensor, tail: _Tail, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """[positions, width] → [positions, vocabulary], as the model computes them."""
        hook = self._output.register_forward_pre_hook(lambda _, given: (part[None],))
        within, self._in_tail = self._in_tail, True
        try:
            logits: torch.Tensor = tail.run(weights)[0]
            return logits
        finally:
            self._in_tail = within
            hook.remove()


class _Tail:
    """A model from its last hidden states on.

    Args:
        model: whose output projection is given its input by a hook.
        decoder: what has computed the hidden states, and is not run again.
        output: what it gave; only its kind is kept.
    """

    def __init__(self, model: Any, decoder: Any, output: Any) -> None:
        hidden = output[0]
        small = hidden.new_zeros(1, 1, hidden.shape[-1])
        self._model, self._decoder = model, decoder
        self._output = (small,) if isinstance(output, tuple) else type(output)(small)
        self._ids = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        self.dtype = hidden.dtype

    def run(self, weights: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The model's logits of what its projection is given; `weights` stand in its own place."""
        decoder = self._decoder
        own = decoder.__dict__.get("forward")
        decoder.forward = lambda *_, **__: self._output
        try:
            asked = {"input_ids": self._ids, "use_cache": False, "logits_to_keep": 1}
            if weights is not None:
                said = functional_call(self._model, {**weights}, (), asked)
            else:
                # Not by calling it: what wraps it has been entered already.
                said = type(self._model).forward(self._model, **asked)
        finally:
            del decoder.forward
            if own is not None:
                decoder.forward = own
        logits: torch.Tensor = said.logits
        return logits


class _WithGradient(torch.autograd.Function):
    """Columns of some positions, with the gradient of each column at once."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, run: Callable[[torch.Tensor], _Columns]
    ) -> _Columns:
        with torch.enable_grad():
            given = hidden.detach().requires_grad_()
            columns = run(given)
            # A column's number depends on its own position: the gradient of the sum is each one's.
            gradients = [
                torch.autograd.grad(column.sum(), given, retain_graph=True)[0] for column in columns
            ]
        ctx.save_for_backward(*gradients)
        return tuple(column.detach() for column in columns)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None]:
        parts = zip(given, ctx.saved_tensors, strict=True)
        whole = sum(one[:, None] * gradient.float() for one, gradient in parts)
        return torch.as_tensor(whole).to(ctx.saved_tensors[0].dtype), None


def projection_of(
    model: nn.Module,
    bare: Any,
    sequence: TokenSequence,
    *,
    precision: str,
    virtual_tokens: int = 0,
    in_parts: bool = False,
) -> ChunkedProjection | None:
    """How this model's output projection is asked for a few positions at a time; None if asked so
    it gives something else than its own logits, or cannot be asked.

    Costs two forward passes of a few tokens, and leaves nothing changed.

    Args:
        model: as it is called; wrapped for several processes.
        bare: the same, not wrapped.
        sequence: its beginning is what is tried.
        in_parts: processes hold shares of its weights, which are whole during its own passes only:
            logits are computed where labels are, and all together.
    """
    device = next(bare.parameters()).device
    ids = sequence.input_ids[:_TRIED]
    batch = padded([TokenSequence(ids, ids)], 0).to(device)
    try:
        tried = ChunkedProjection(bare, None if in_parts else _TRIED // 3)
        with torch.no_grad(), undisturbed(bare, device):
            own = score(model, batch, virtual_tokens)
            found = score(model, batch, virtual_tokens, projection=tried)
    except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
        return None
    apart = (found.logprobs.double() - own.logprobs.double()).abs()
    if not bool((apart <= _TOLERANCE[precision] * (1 + own.logprobs.double().abs())).all()):
        return None
    vocabulary = int(bare.config.get_text_config().vocab_size)
    tried.most = None if in_parts else logits_together(vocabulary, device.type)
    return tried
