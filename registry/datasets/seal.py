"""The form of a seal: how many test rows, how many shingles each has, the shingles as numbers.

    magic · rows (8 bytes) · shingles of each row (4 bytes) · the shingles (8 bytes), little-endian

Invariant: what is kept as a seal has this form. Every build reads every seal and none can be taken
back, so one that cannot be read would stop all builds for ever.
"""

from __future__ import annotations

import sys
from array import array
from itertools import pairwise

from adapterworks.manifests.errors import InvalidInput

MAGIC = b"adapterworks seal 1\n"
MOST_BYTES = 64 << 20
_START = len(MAGIC) + 8


def check_seal(data: bytes) -> None:
    """Check that bytes are a seal.

    Raises:
        InvalidInput: they are not, or too many.
    """
    if len(data) > MOST_BYTES:
        raise InvalidInput(f"a seal has at most {MOST_BYTES} bytes")
    if not data.startswith(MAGIC) or not _fits(data):
        raise InvalidInput(
            "these bytes are no seal of a test set",
            hint="a build makes it and sends it; see that both sides have the same version",
        )


def _fits(data: bytes) -> bool:
    rows = int.from_bytes(data[len(MAGIC) : _START], "little")
    if len(data) < _START + 4 * rows or (len(data) - _START - 4 * rows) % 8:
        return False
    counts = _numbers("I", data[_START : _START + 4 * rows])
    shingles = _numbers("Q", data[_START + 4 * rows :])
    if sum(counts) != len(shingles):
        return False
    start = 0
    for count in counts:  # each row's are a set, in order: they are looked up by halving
        if any(a >= b for a, b in pairwise(shingles[start : start + count])):
            return False
        start += count
    return True


def _numbers(code: str, data: bytes) -> array[int]:
    found = array(code)
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found
