"""The base's modules and their real shapes, read from its checkpoint's headers.

Invariant: what is listed exists in the base with this shape, under the name that its module has;
nothing is derived from the architecture's name, so a new architecture needs no code here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.bases.complete import left_out, names_in_model
from adapterworks.registry.imports.header import read_header

_MAX_HEADER = 100 << 20  # the format's own limit
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class BaseModules:
    """Two-dimensional weights of a base.

    Attributes:
        shapes: module path → (rows, columns) of its weight as stored.
        linear: the paths a LoRA can adapt: matrices inside the repeated blocks.
        transposed: the architecture stores (in, out) instead of (out, in), as GPT-2 does.
    """

    shapes: Mapping[str, tuple[int, int]]
    linear: frozenset[str]
    transposed: bool

    def in_out(self, module: str) -> tuple[int, int]:
        """(input size, output size) of a linear module."""
        rows, columns = self.shapes[module]
        return (rows, columns) if self.transposed else (columns, rows)

    def by_suffix(self) -> dict[str, set[str]]:
        """Last part of the path (`q_proj`) → the linear modules that end so."""
        table: dict[str, set[str]] = {}
        for module in self.linear:
            table.setdefault(module.rpartition(".")[2], set()).add(module)
        return table


def read_modules(checkpoint: Path) -> BaseModules:
    """Read a base's checkpoint folder.

    Raises:
        IntegrityError: the folder holds no safetensors checkpoint with a config.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_bytes())
        files = _files(checkpoint)
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(f"`{checkpoint}` is not a safetensors checkpoint: {error}") from error
    tensors = {
        name: info
        for file in files
        for name, info in read_header(checkpoint / file, max_header=_MAX_HEADER).tensors.items()
    }
    kind = str(config.get("model_type"))
    before = left_out(kind, tensors)
    named = {name: before + name for name in tensors}
    if "text_config" in config:  # stored as it was published, and its modules have moved since
        named = names_in_model(checkpoint, tensors)
    shapes = {
        named[name].removesuffix(".weight"): (info.shape[0], info.shape[1])
        for name, info in tensors.items()
        if name.endswith(".weight") and len(info.shape) == 2
    }
    linear = frozenset(path for path in shapes if any(part.isdigit() for part in path.split(".")))
    return BaseModules(shapes, linear, transposed=kind == "gpt2")


def _files(checkpoint: Path) -> list[str]:
    if (checkpoint / _INDEX).exists():
        return sorted(set(json.loads((checkpoint / _INDEX).read_bytes())["weight_map"].values()))
    return [_SINGLE]
