"""The safetensors header, checked before anything is mapped or copied.

    8 bytes little-endian length n │ n bytes JSON {name: {dtype, shape, data_offsets}} │ data

Invariant: a `Header` that was returned describes the file exactly: every tensor's bytes are
inside the file, of the length its shape and dtype say, and together they cover the data without
gap or overlap. All arithmetic is on Python integers, which do not overflow.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from adapterworks.registry.imports import strictjson
from adapterworks.registry.imports.errors import ImportRefused, show

MAX_HEADER = 16 << 20  # bytes; a rank-512 LoRA on 100 layers needs less than 1 MiB
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8
ITEM_SIZE = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,512}")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: where its bytes are (`start`, `end` from the start of the file)."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header; `data_start` is the offset of the first data byte in the file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int


def read_header(path: Path, *, max_header: int = MAX_HEADER) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        ImportRefused: anything that the module's invariant excludes.
    """
    with path.open("rb") as stream:
        return read_header_from(stream, file=path.name, max_header=max_header)


def read_header_from(stream: BinaryIO, *, file: str, max_header: int = MAX_HEADER) -> Header:
    """As `read_header`, from an open file at its start; `file` is the name used in errors."""
    size = os.fstat(stream.fileno()).st_size
    if size < 8:
        raise ImportRefused(file, f"{size} bytes are too few for a safetensors header")
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > max_header:
        raise ImportRefused(file, f"a header of {length} bytes, {max_header} are the limit")
    if 8 + length > size:
        raise ImportRefused(
            file, f"the header claims {length} bytes, the file ends after {size - 8}"
        )
    raw = stream.read(length)
    if not raw.startswith(b"{"):
        raise ImportRefused(file, "not a safetensors file: the header does not start with `{`")
    table = strictjson.parse(raw, file=file, max_depth=3)
    return _check(table, file, data_start=8 + length, data_size=size - 8 - length)


def _check(table: dict[str, Any], file: str, *, data_start: int, data_size: int) -> Header:
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ImportRefused(file, "`__metadata__` is not a table of strings")
    if not table:
        raise ImportRefused(file, "no tensor in it")
    if len(table) > MAX_TENSORS:
        raise ImportRefused(file, f"{len(table)} tensors, {MAX_TENSORS} are the limit")
    tensors = {name: _tensor(name, entry, file, data_start) for name, entry in table.items()}

    position = data_start
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            problem = "overlaps the one before it" if info.start < position else "leaves a gap"
            raise ImportRefused(
                file, f"tensor `{name}` {problem}: starts at {info.start - data_start}, "
                f"{position - data_start} is next",
            )  # fmt: skip
        position = info.end
    if position != data_start + data_size:
        relation = "more" if position > data_start + data_size else "fewer"
        raise ImportRefused(
            file,
            f"the tensors take {position - data_start} bytes, {relation} than the "
            f"{data_size} in the file",
        )
    return Header(tensors, metadata, data_start)


def _tensor(name: str, entry: Any, file: str, data_start: int) -> TensorInfo:
    if not _NAME.fullmatch(name):
        raise ImportRefused(
            file,
            f"the tensor name `{show(name)}` has other characters than letters, digits, `._-/`",
        )
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ImportRefused(file, f"tensor `{name}` has other keys than dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        raise ImportRefused(file, f"tensor `{name}` has the unknown dtype `{show(str(dtype))}`")
    if not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise ImportRefused(file, f"tensor `{name}` has the shape `{show(str(shape))}`")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ImportRefused(file, f"tensor `{name}` has the offsets `{show(str(offsets))}`")
    needed = math.prod(shape) * ITEM_SIZE[dtype]
    if offsets[1] - offsets[0] != needed:
        raise ImportRefused(
            file,
            f"tensor `{name}` {dtype} {shape} needs {needed} bytes, its offsets span "
            f"{offsets[1] - offsets[0]}",
        )
    return TensorInfo(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
