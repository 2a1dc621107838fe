"""What a plan needs to know of a base model, read from its files without loading any weight.

Invariant: parameter counts are exact, taken from the safetensors headers, not from a formula.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput

# The output projection and embeddings are not adapted by "all-linear" (PEFT leaves them out too).
_NOT_ADAPTED = ("lm_head", "embed_tokens", "wte", "wpe", "embed_in", "embed_out")


@dataclass(frozen=True, slots=True)
class Linear:
    """One weight matrix of shape [out_features, in_features]; `name` is the module's."""

    name: str
    out_features: int
    in_features: int

    @property
    def leaf(self) -> str:
        """The last part of the name, what `target_modules` lists (`q_proj`)."""
        return self.name.rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Sizes of a decoder-only base; `other` counts the parameters outside `linears`."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    linears: tuple[Linear, ...]
    other: int

    @property
    def linear_parameters(self) -> int:
        return sum(linear.out_features * linear.in_features for linear in self.linears)

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other

    def targeted(self, targets: str | tuple[str, ...]) -> tuple[Linear, ...]:
        """The linears that `target_modules` selects.

        Raises:
            InvalidInput: a target names no linear layer of this base.
        """
        if targets == "all-linear":
            return self.linears
        chosen = tuple(linear for linear in self.linears if linear.leaf in targets)
        if missing := set(targets) - {linear.leaf for linear in chosen}:
            known = ", ".join(f"`{leaf}`" for leaf in sorted({x.leaf for x in self.linears}))
            raise InvalidInput(
                f"`method.target_modules` names `{sorted(missing)[0]}`, "
                "which is no linear layer of this base",
                hint=f"this base has {known}",
            )
        return chosen


def read_shape(checkpoint: Path) -> BaseShape:
    """Read `config.json` and the safetensors headers of a checkpoint folder.

    Raises:
        InvalidInput: the folder is not a decoder-only checkpoint in safetensors.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        layers, vocab = config["num_hidden_layers"], config["vocab_size"]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise InvalidInput(
            f"`{checkpoint}` is not a decoder-only checkpoint: {error}",
            hint="the base needs a `config.json` with hidden_size, num_attention_heads, "
            "num_hidden_layers and vocab_size",
        ) from error
    linears, other = [], 0
    for name, shape in sorted(_tensor_shapes(checkpoint).items()):
        module = name.removesuffix(".weight")
        if len(shape) == 2 and not any(part in _NOT_ADAPTED for part in module.split(".")):
            linears.append(Linear(module, shape[0], shape[1]))
        else:
            size = 1
            for length in shape:
                size *= length
            other += size
    return BaseShape(
        layers=layers,
        hidden=hidden,
        intermediate=config.get("intermediate_size") or 4 * hidden,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        vocab=vocab,
        max_positions=config.get("max_position_embeddings", 2048),
        linears=tuple(linears),
        other=other,
    )


def _tensor_shapes(checkpoint: Path) -> dict[str, list[int]]:
    """Shapes by tensor name, from the JSON headers of all safetensors files of a folder."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes.update({k: v["shape"] for k, v in header.items() if k != "__metadata__"})
    if not shapes:
        raise InvalidInput(
            f"`{checkpoint}` has no safetensors file",
            hint="pickled checkpoints are not read; convert the base to safetensors",
        )
    return shapes
