"""What is kept as a seal can be read by every build: nothing else is taken."""

from __future__ import annotations

import struct

import pytest

from adapterworks.builders.data.gates.seals import make_seal, read_seal
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.datasets import seal
from adapterworks.registry.datasets.seal import MAGIC, check_seal
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from tests.registry.datasets.seals import seal_of


def packed(form: str, *numbers: int) -> bytes:
    return MAGIC + struct.pack(f"<{form}", *numbers)


@pytest.mark.parametrize("data", [make_seal([]), seal_of(), seal_of(1, 2, 2**64 - 1)])
def test_what_a_build_makes_is_taken(data: bytes) -> None:
    check_seal(data)
    read_seal(data, "somebody")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        MAGIC,
        MAGIC + b"\x00" * 7,
        packed("Q", 2**63),
        packed("QI", 2, 0),
        packed("QIQ", 1, 2, 5),
        packed("QIQ", 1, 0, 5),
        packed("QIQ", 1, 1, 5) + b"\x00",
        packed("QIQQ", 1, 2, 5, 5),
        packed("QIQQ", 1, 2, 6, 5),
        packed("QIIQ", 2, 2**32 - 1, 2, 5),
        b"X" + seal_of(1)[1:],
    ],
)
def test_what_is_no_seal_is_refused(data: bytes, registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="no seal"):
        Datasets(registry).seal(data, "somebody")
    assert Datasets(registry).seals() == []


def test_each_row_has_an_order_of_its_own() -> None:
    check_seal(packed("QIIQQQ", 2, 2, 1, 5, 9, 7))


def test_a_seal_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MOST_BYTES", len(seal_of(1)))
    check_seal(seal_of(1))
    with pytest.raises(InvalidInput, match="at most"):
        check_seal(seal_of(1, 2))
