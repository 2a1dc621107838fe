"""The values of the tensors: finite, and not all zero; read in pieces, with numpy only.

Invariant: memory use does not grow with the file. 16-bit floats are judged by their bits, so
bfloat16 needs no library that knows it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from registry.imports.errors import ImportRefused
from registry.imports.folder import WEIGHTS
from registry.imports.header import Header, TensorInfo

_CHUNK = 4 << 20  # bytes, a multiple of every item size
# dtype → (unsigned view, mask of the exponent: all ones there is NaN or infinity, mask of the sign)
_BITS = {
    "F16": (np.dtype("<u2"), 0x7C00, 0x7FFF),
    "BF16": (np.dtype("<u2"), 0x7F80, 0x7FFF),
    "F32": (np.dtype("<u4"), 0x7F800000, 0x7FFFFFFF),
}


def check_values(path: Path, header: Header) -> None:
    """Read every tensor once.

    Args:
        path: a file whose header was checked, with dtypes of `tensors.DTYPES` only.

    Raises:
        ImportRefused: NaN or infinity somewhere, or all `lora_B` are zero.
    """
    changes_something = False
    with path.open("rb") as file:
        for name, info in header.tensors.items():
            nonzero = _scan(file.fileno(), name, info)
            changes_something |= nonzero and ".lora_B" in name
    if not changes_something:
        raise ImportRefused(
            WEIGHTS,
            "every `lora_B` is zero: the adapter changes nothing",
            hint="it was saved before it was trained, or the training did not reach it",
        )


def _scan(descriptor: int, name: str, info: TensorInfo) -> bool:
    """Whether any value is not zero; raises at the first that is not finite."""
    unsigned, exponent, magnitude = _BITS[info.dtype]
    nonzero = False
    position = info.start
    while position < info.end:
        data = os.pread(descriptor, min(_CHUNK, info.end - position), position)
        if not data:
            raise ImportRefused(WEIGHTS, f"the file ends inside tensor `{name}`")
        bits = np.frombuffer(data, dtype=unsigned)
        bad = np.flatnonzero((bits & exponent) == exponent)
        if bad.size:
            index = (position - info.start) // unsigned.itemsize + int(bad[0])
            raise ImportRefused(WEIGHTS, f"tensor `{name}` has NaN or infinity at element {index}")
        nonzero = nonzero or bool((bits & magnitude).any())
        position += len(data)
    return nonzero
