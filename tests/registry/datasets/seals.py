"""Seals of small test sets."""

from __future__ import annotations

import struct

from adapterworks.registry.datasets.seal import MAGIC


def seal_of(*numbers: int) -> bytes:
    """The seal of one test row that has these shingles."""
    return MAGIC + struct.pack(f"<QI{len(numbers)}Q", 1, len(numbers), *numbers)
