"""Rows of numbers as GGUF's quantized blocks.

The simple types are computed by the `gguf` package, K-quants by llama.cpp's own code, whose
function for it (`ggml_quantize_chunk`) the library of `xllamacpp` has. Invariant: no rule of
rounding is written here; what comes out is what `llama-quantize` writes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.installing import install

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType

_FUNCTION = "ggml_quantize_chunk"


def quantize(values: np.ndarray[Any, Any], kind: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    """Quantize a matrix row by row.

    Args:
        values: float32, rows of whole blocks.
        kind: of the blocks.

    Returns:
        bytes, as many rows.

    Raises:
        Unavailable: it is a K-quant, and no llama.cpp is installed that computes them.
    """
    import gguf
    import numpy as np

    rows = np.ascontiguousarray(values, dtype=np.float32)
    if not kind.name.endswith("_K"):
        simple: np.ndarray[Any, Any] = gguf.quantize(rows, kind)
        return simple
    compute = _llama_cpp()
    stored = np.empty(gguf.quant_shape_to_byte_shape(rows.shape, kind), np.uint8)
    width = rows.shape[-1]
    written = compute(
        int(kind),
        rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        stored.ctypes.data_as(ctypes.c_void_p),
        0,
        rows.size // width,
        width,
        None,  # no importance matrix: all columns count alike
    )
    assert written == stored.nbytes
    return stored


def missing() -> str | None:
    """Why K-quants cannot be computed here, as a sentence; None if they can."""
    try:
        _llama_cpp()
    except Unavailable as error:
        return error.message
    return None


@functools.cache
def _llama_cpp() -> Callable[..., int]:
    spec = importlib.util.find_spec("xllamacpp")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    libraries = sorted(folder.glob("xllamacpp*.so")) if folder is not None else []
    try:
        function = getattr(ctypes.CDLL(str(libraries[0])), _FUNCTION)
    except (IndexError, OSError, AttributeError):
        raise Unavailable(
            "K-quants are computed by llama.cpp, and no `xllamacpp` that can is installed",
            hint=f"{install('export')}, or quantize an f16 export with "
            "`llama-quantize`, which is not proved then",
        ) from None
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_float),
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_float),
    ]
    found: Callable[..., int] = function
    return found
