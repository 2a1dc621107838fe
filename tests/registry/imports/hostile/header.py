"""Hostile safetensors headers."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from tests.registry.imports.hostile.cases import WEIGHTS, case

F32 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def write(folder: Path, header: Any, data: bytes = bytes(16)) -> None:
    """A file with this header: a JSON value, or raw bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def one(folder: Path, data: bytes = bytes(16), **changes: Any) -> None:
    """A file with one tensor whose entry is changed."""
    write(folder, {"x.lora_A.weight": {**F32, **changes}}, data)


@case(WEIGHTS, "4 bytes are too few")
def four_byte_file(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\0\0\0\0")


@case(WEIGHTS, "a header of 9223372036854775808 bytes")
def header_of_eight_exabytes(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 63) + b"{}")


@case(WEIGHTS, "the header claims 4096 bytes, the file ends after 2")
def header_longer_than_file(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 4096) + b"{}")


@case(WEIGHTS, "not JSON")
def header_is_not_json(folder: Path) -> None:
    write(folder, b"{this is not JSON}")


@case(WEIGHTS, "not UTF-8 at byte 2")
def header_is_not_utf8(folder: Path) -> None:
    write(folder, b'{"\xff\xfe": 1}')


@case(WEIGHTS, "the key `x` appears twice")
def header_names_a_tensor_twice(folder: Path) -> None:
    entry = json.dumps(F32)
    write(folder, f'{{"x": {entry}, "x": {entry}}}'.encode())


@case(WEIGHTS, "nested deeper than 3 levels")
def header_nested_100000_deep(folder: Path) -> None:
    write(folder, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@case(WEIGHTS, "an integer of 5000 digits")
def header_integer_of_5000_digits(folder: Path) -> None:
    write(folder, b'{"x":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,16]}}')


@case(WEIGHTS, "does not start with `{`")
def pickle_renamed_to_safetensors(folder: Path) -> None:
    payload = pickle.dumps({"weights": [1.0]}, protocol=4)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(payload)) + payload)


@case(WEIGHTS, "bytes, 16777216 are the limit")
def torch_archive_renamed_to_safetensors(folder: Path) -> None:
    with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1.0]))


@case(WEIGHTS, "no tensor in it")
def header_without_tensors(folder: Path) -> None:
    write(folder, {}, b"")


@case(WEIGHTS, "`__metadata__` is not a table of strings")
def metadata_with_a_payload(folder: Path) -> None:
    write(folder, {"__metadata__": {"format": ["pt"]}, "x.lora_A.weight": F32})


@case(WEIGHTS, "unknown dtype `OBJECT`")
def dtype_object(folder: Path) -> None:
    one(folder, dtype="OBJECT")


@case(WEIGHTS, "is I32; F32, F16, BF16 are taken")
def integer_weights(folder: Path) -> None:
    one(folder, dtype="I32")


@case(WEIGHTS, "is F8_E4M3; F32, F16, BF16 are taken")
def eight_bit_weights(folder: Path) -> None:
    one(folder, dtype="F8_E4M3", shape=[4, 4])


@case(WEIGHTS, "the shape `[-2, -2]`")
def negative_shape(folder: Path) -> None:
    one(folder, shape=[-2, -2])


@case(WEIGHTS, "the shape `[True, 4]`")
def boolean_shape(folder: Path) -> None:
    one(folder, shape=[True, 4])


@case(WEIGHTS, "the shape `[2.0, 2]`")
def fractional_shape(folder: Path) -> None:
    one(folder, shape=[2.0, 2])


@case(WEIGHTS, "needs 73786976294838206480 bytes, its offsets span 16")
def shape_that_overflows_64_bits(folder: Path) -> None:
    # (2^62 + 1) · 4 · 4 bytes is 16 modulo 2^64: right for a reader whose integers wrap.
    one(folder, shape=[(1 << 62) + 1, 4])


@case(WEIGHTS, "needs 1099511627776 bytes, its offsets span 16")
def decompression_style_bomb(folder: Path) -> None:
    one(folder, shape=[1 << 19, 1 << 19])


@case(WEIGHTS, "the offsets `[16, 0]`")
def offsets_reversed(folder: Path) -> None:
    one(folder, data_offsets=[16, 0])


@case(WEIGHTS, "the offsets `[-16, 0]`")
def offsets_before_the_data(folder: Path) -> None:
    one(folder, data_offsets=[-16, 0])


@case(WEIGHTS, "more than the 16 in the file")
def offsets_past_the_end(folder: Path) -> None:
    write(folder, {"a": F32, "b": {**F32, "data_offsets": [16, 32]}})


@case(WEIGHTS, "overlaps the one before it")
def tensors_overlap(folder: Path) -> None:
    write(folder, {"a": F32, "b": {**F32, "data_offsets": [8, 24]}}, bytes(24))


@case(WEIGHTS, "leaves a gap")
def payload_hidden_in_a_gap(folder: Path) -> None:
    write(folder, {"a": F32, "b": {**F32, "data_offsets": [32, 48]}}, bytes(48))


@case(WEIGHTS, "fewer than the 1040 in the file")
def payload_after_the_last_tensor(folder: Path) -> None:
    one(folder, bytes(16) + b"#!/bin/sh\n".ljust(1024))


@case(WEIGHTS, "other keys than dtype, shape, data_offsets")
def entry_with_an_extra_key(folder: Path) -> None:
    one(folder, code="import os")


@case(WEIGHTS, "other characters than letters, digits")
def tensor_name_with_direction_override(folder: Path) -> None:
    write(folder, {"x\u202e.lora_A.weight": F32})


@case(WEIGHTS, "8589934593 bytes, 8589934592 are the limit")
def sparse_file_of_eight_gigabytes(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (8 << 30) + 1)
