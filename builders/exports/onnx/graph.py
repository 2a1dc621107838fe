"""A decoder as an ONNX graph: torch's own exporter (`torch.onnx.export`, dynamo) over a wrapper.

The graph has the names that ONNX Runtime's generators look for:

    input_ids, attention_mask, position_ids   int64 [batch, sequence | past + sequence | sequence]
    past_key_values.N.key, .value             float32 [batch, heads, past, dimension]
    logits                                    float32 [batch, sequence, vocabulary]
    present.N.key, .value                     float32 [batch, heads, past + sequence, dimension]

A LoRA that is not in the weights is two more inputs a linear, `MODULE.lora_A.weight` [in, rank] and
`MODULE.lora_B.weight` [rank, out], of rank 0 unless somebody gives them: y = Wx + (x·A)·B.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.exports.gguf.families import head_dimension, key_value_heads
from adapterworks.registry.bases.causal_lm import EAGER, load_causal_lm
from adapterworks.registry.bases.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch

OPSET = 18
MODEL, WEIGHTS = "model.onnx", "model.onnx.data"
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Of the example that the exporter traces; every one of these dimensions is dynamic.
_BATCH, _PAST, _SEQUENCE, _RANK = 2, 3, 4, 5


def factor_names(module: str) -> tuple[str, str]:
    """The graph's inputs of one module's factors."""
    return module + _A, module + _B


def write_graph(
    place: Path,
    checkpoint: Path,
    config: Mapping[str, Any],
    weights: Iterable[tuple[str, torch.Tensor]],
    open_to: Iterable[str] = (),
) -> None:
    """Write `model.onnx` and `model.onnx.data`, float32.

    Args:
        place: an existing folder.
        checkpoint: whose architecture it is.
        weights: by the checkpoint's names.
        open_to: modules that a LoRA may be given for at each request.
    """
    import torch

    model = _model(checkpoint, weights)
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    modules = sorted(open_to)
    hooks = [_open(model.get_submodule(name), name, factors) for name in modules]
    layers = config["num_hidden_layers"]
    example, dynamic = _example(config, layers, [_widths(model, name) for name in modules])
    names = [
        "input_ids",
        "attention_mask",
        "position_ids",
        *_cache_names("past_key_values", layers),
    ]
    names += [name for module in modules for name in factor_names(module)]
    with _quietly():
        program = torch.onnx.export(
            _wrapped(model, modules, factors).eval(),
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=names,
            output_names=["logits", *_cache_names("present", layers)],
            opset_version=OPSET,
            verbose=False,
        )
    for hook in hooks:
        hook.remove()
    assert program is not None
    program.save(place / MODEL, external_data=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on itself and on packages that it would know too."""
    told = logging.getLogger("torch.onnx")
    before = told.level
    told.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        told.setLevel(before)


def _cache_names(prefix: str, layers: int) -> list[str]:
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def _model(checkpoint: Path, weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
    """The checkpoint's model with other weights, in float32."""
    quiet_libraries()
    import torch

    model: Any = load_causal_lm(checkpoint, dtype=torch.float32, attn_implementation=EAGER)
    held = model.state_dict()
    with torch.no_grad():
        for name, tensor in weights:
            held[name].copy_(tensor)
    return model.eval()


def _open(linear: Any, name: str, factors: dict[str, Any]) -> Any:
    """Add a LoRA's product to what a linear gives, from factors that are inputs of the graph."""

    def add(module: Any, given: tuple[Any, ...], result: Any) -> Any:
        a, b = factors[name]
        return result + (given[0] @ a) @ b

    return linear.register_forward_hook(add)


def _widths(model: Any, name: str) -> tuple[int, int]:
    linear = model.get_submodule(name)
    return int(linear.in_features), int(linear.out_features)


def _wrapped(model: Any, modules: list[str], factors: dict[str, Any]) -> torch.nn.Module:
    """The model as a function of tensors alone."""
    import torch
    from transformers import DynamicCache

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            position_ids: torch.Tensor,
            past: list[tuple[torch.Tensor, torch.Tensor]],
            given: list[tuple[torch.Tensor, torch.Tensor]],
        ) -> Any:
            factors.update(zip(modules, given, strict=True))
            cache = DynamicCache(config=model.config)
            for layer, (key, value) in enumerate(past):
                cache.update(key, value, layer)
            answer = self.model(
                input_ids=input_ids,
                attention_mask=_mask(attention_mask, input_ids.shape[1]),
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
            )
            present = [(layer.keys, layer.values) for layer in answer.past_key_values.layers]
            return answer.logits, present

    return Wrapped()


def _mask(attended: torch.Tensor, sequence: int) -> torch.Tensor:
    """[batch, 1, sequence, past + sequence]: 0 where a token sees another, else very negative."""
    import torch

    total = attended.shape[1]
    columns = torch.arange(total)
    rows = torch.arange(sequence) + (total - sequence)
    seen = (columns[None, :] <= rows[:, None])[None, None] & attended[:, None, None, :].bool()
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


def _example(
    config: Mapping[str, Any], layers: int, widths: list[tuple[int, int]]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Inputs to trace with, and which of their dimensions are dynamic."""
    import torch

    heads, dimension = key_value_heads(dict(config)), head_dimension(dict(config))
    cached = (_BATCH, heads, _PAST, dimension)
    positions = torch.arange(_PAST, _PAST + _SEQUENCE)[None].expand(_BATCH, _SEQUENCE)
    any_ = torch.export.Dim.DYNAMIC
    rows, cells = {0: any_, 1: any_}, {0: any_, 2: any_}
    example = (
        torch.zeros((_BATCH, _SEQUENCE), dtype=torch.int64),
        torch.ones((_BATCH, _PAST + _SEQUENCE), dtype=torch.int64),
        positions.contiguous(),
        [(torch.zeros(cached), torch.zeros(cached)) for _ in range(layers)],
        [(torch.zeros(width, _RANK), torch.zeros(_RANK, out)) for width, out in widths],
    )
    dynamic = (
        rows,
        rows,
        rows,
        [(cells, cells) for _ in range(layers)],
        [({1: any_}, {0: any_}) for _ in widths],
    )
    return example, dynamic
