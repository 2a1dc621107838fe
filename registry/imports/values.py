"""The values of the tensors: finite, and not all zero; read in pieces, with numpy only.

Invariant: memory use does not grow with the file. Floats are judged by their bits, so bfloat16
needs no library that knows it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import WEIGHTS
from adapterworks.registry.imports.header import Header, TensorInfo

_CHUNK = 4 << 20  # bytes, a multiple of every item size
# dtype → unsigned view, mask of the exponent (all ones: NaN or infinity), mask without the sign
_BITS: dict[str, tuple[np.dtype[Any], int, int]] = {
    "F16": (np.dtype("<u2"), 0x7C00, 0x7FFF),
    "BF16": (np.dtype("<u2"), 0x7F80, 0x7FFF),
    "F32": (np.dtype("<u4"), 0x7F800000, 0x7FFFFFFF),
    "F64": (np.dtype("<u8"), 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF),
}


def check_finite(path: Path, header: Header, *, file: str = WEIGHTS) -> dict[str, bool]:
    """Read every float tensor once; returns for each whether any value is not zero.

    Args:
        path: a file whose header was checked. Tensors of other types cannot be NaN.
        file: the name used in errors.

    Raises:
        ImportRefused: NaN or infinity somewhere.
    """
    with path.open("rb") as stream:
        return {
            name: _scan(stream.fileno(), name, info, file)
            for name, info in header.tensors.items()
            if info.dtype in _BITS
        }


def check_values(path: Path, header: Header) -> None:
    """As `check_finite`, for a LoRA.

    Raises:
        ImportRefused: also when all `lora_B` are zero.
    """
    nonzero = check_finite(path, header)
    if not any(value for name, value in nonzero.items() if ".lora_B" in name):
        raise ImportRefused(
            WEIGHTS,
            "every `lora_B` is zero: the adapter changes nothing",
            hint="it was saved before it was trained, or the training did not reach it",
        )


def _scan(descriptor: int, name: str, info: TensorInfo, file: str) -> bool:
    unsigned, exponent, magnitude = _BITS[info.dtype]
    nonzero = False
    position = info.start
    while position < info.end:
        data = os.pread(descriptor, min(_CHUNK, info.end - position), position)
        if not data:
            raise ImportRefused(file, f"the file ends inside tensor `{name}`")
        bits = np.frombuffer(data, dtype=unsigned)
        bad = np.flatnonzero((bits & exponent) == exponent)
        if bad.size:
            index = (position - info.start) // unsigned.itemsize + int(bad[0])
            raise ImportRefused(file, f"tensor `{name}` has NaN or infinity at element {index}")
        nonzero = nonzero or bool((bits & magnitude).any())
        position += len(data)
    return nonzero
