"""Tensors in a file, one at a time in memory: written as they are gathered, read as they are used.

Invariant: a file is safetensors as its own library writes it (https://github.com/huggingface/
safetensors#format), but no process ever has more than one of its tensors beside what it has anyway.
Of tensors in parts (`sharding.py`) every process has to write, at the same time and in the same
order; the first alone has a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.training.sharding import whole

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], *, here: bool = True) -> None:
    """Write tensors, whole.

    Args:
        tensors: by name; ones in parts as well.
        here: whether this process has the file; another helps to gather.
    """
    # The widest first, so that each begins at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, at = {}, 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": [*tensor.shape],
            "data_offsets": [at, end],
        }
        at = end
    if not here:
        for name in order:
            whole(tensors[name])
        return
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(whole(tensors[name]).reshape(-1).view(torch.uint8).numpy().data)


class Tensors(Mapping[str, torch.Tensor]):
    """The tensors of a file, each read when it is asked for.

    Args:
        path: of the file; without one there are none.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        opens: Any = safe_open
        self._file: Any = opens(path, "pt") if path.exists() else None
        self._names: tuple[str, ...] = () if self._file is None else tuple(self._file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if self._file is None or name not in self._names:
            raise KeyError(name)
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
